"""Routers on published data: what each saves, at which quality, beside its peers."""
