"""Conversion: from the traces of a large model to small models that are shown to do as well.

After Belcak et al., 'Small Language Models are the Future of Agentic AI' (arXiv 2506.02153, section 6), whose
six steps are collect, curate, cluster, select, tune and promote.
"""
