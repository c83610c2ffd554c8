"""Who is trusted: the installation's keys, agents and their certificates, tokens of people and CI."""
