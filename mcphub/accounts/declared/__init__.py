"""Configuration as code: what an org is made of, as one YAML document, out and in.

Every app registers the sections that it owns (`sections.register`) and may register checks of the whole.
"""
