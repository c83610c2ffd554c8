"""A declarative reconciler for deployment workers, pools and deployments."""
