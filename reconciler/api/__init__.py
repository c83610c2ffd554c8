"""What a server answers over HTTP: health and metrics, calls of forges, and the API with its tokens and permissions."""
