"""massgen: a team of language-model agents answers one question together."""

__version__ = "0.1.0"
