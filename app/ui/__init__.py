"""The web pages of the service. They use the services and the keys of the API."""
