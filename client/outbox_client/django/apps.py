"""The application, as Django finds it."""

from django.apps import AppConfig
from django.core.checks import Tags, register


class OutboxClientConfig(AppConfig):
    """Registers the system checks; model and admin are found by their modules."""

    name = "outbox_client.django"
    label = "outbox_client"
    verbose_name = "Outbox"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Register the checks."""
        # Their module imports the model, which there is only now.
        from outbox_client.django.checks import check_outbox, check_settings

        register(check_settings)
        register(check_outbox, Tags.database)
