"""What makes the site and the pictures of the documentation. Nothing here is part of the package."""
