"""The launcher's second half and the REST client for pipelines. Imports neither Django nor apps."""
