"""What Django knows of the model: no migration here touches the table."""
