"""The application, as Django finds it."""

from django.apps import AppConfig


class OutboxClientConfig(AppConfig):
    """Registers the system check; model and admin are found by their modules."""

    name = "outbox_client.django"
    label = "outbox_client"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the check."""
        from outbox_client.django import checks  # noqa: F401 - the import registers it
