"""The page: a browser's view of the service. It uses the services and the keys of the API."""
