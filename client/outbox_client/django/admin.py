"""The outbox in the admin, to be looked at. What changes events is the relay's command line, which keeps an audit."""

from typing import Any, ClassVar

from django.contrib import admin
from django.db.models import QuerySet

from outbox_client.django.models import OutboxEvent


class StateFilter(admin.SimpleListFilter):
    """Choose by where an event is."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: Any, model_admin: Any) -> list[tuple[str, str]]:
        """List the states."""
        return [(name, name) for name in ("pending", "retry", "dead", "discarded", "delivered")]

    def queryset(self, request: Any, queryset: "QuerySet[OutboxEvent]") -> "QuerySet[OutboxEvent]":
        """Restrict the list to the chosen state."""
        value = self.value()
        if value in ("delivered", "discarded"):
            return queryset.filter(**{f"{value}_at__isnull": False})
        if value == "dead":
            return queryset.filter(dead_at__isnull=False, discarded_at__isnull=True)
        if value in ("pending", "retry"):
            return queryset.filter(delivered_at=None, dead_at=None, retry_at__isnull=value == "pending")
        return queryset


@admin.register(OutboxEvent)
class OutboxEventAdmin(admin.ModelAdmin):
    """Lists events, newest first; the payload stands on an event's own page alone."""

    list_display = ("seq", "topic", "key", "state", "created_at", "stream", "stream_seq", "attempts")
    list_filter = (StateFilter,)
    search_fields: ClassVar = ["=key", "=id"]
    actions = None
    show_full_result_count = False  # counting millions of rows would take longer than the page

    def has_add_permission(self, request: Any) -> bool:
        """Refuse."""
        return False

    def has_change_permission(self, request: Any, obj: Any = None) -> bool:
        """Refuse."""
        return False

    def has_delete_permission(self, request: Any, obj: Any = None) -> bool:
        """Refuse."""
        return False
