"""The database: the only truth about playbooks and deployments. SQLAlchemy is used here and nowhere else."""
