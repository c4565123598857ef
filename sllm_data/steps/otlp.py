"""The figures of a run for a collector of OpenTelemetry: sent now and then by OTLP over HTTP.

They are those of the registry that Prometheus asks, under the same names: a counter becomes a
monotonic sum since the start of the run, anything else a gauge. What OTEL_* says of headers,
certificates, compression, timeout and resource holds.

A collector that is away neither stops nor slows a run: one warning, and another try each time.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

if TYPE_CHECKING:  # takes most of a second, and few ask for it
    from opentelemetry.sdk.metrics.export import MetricsData
    from opentelemetry.sdk.resources import Resource

_PATH = "/v1/metrics"
_LAST_S, _END_S = 5.0, 1.0
_LOG = logging.getLogger(__name__)


@contextmanager
def sending(
    registry: CollectorRegistry, endpoint: str, *, interval_s: float, instance: str
) -> Iterator[None]:
    """Sends the figures at once, every `interval_s`, and when the block ends.

    Args:
        registry: Holds them.
        endpoint: The collector's URL, without the path of metrics.
        interval_s: Seconds between two sends.
        instance: What tells this run from others at the same collector: its output.
    """
    from opentelemetry.exporter.otlp.proto.http import metric_exporter  # noqa: PLC0415 - as above
    from opentelemetry.sdk.metrics.export import MetricExportResult  # noqa: PLC0415
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource  # noqa: PLC0415

    own = Resource({"service.name": "sllm-data", "service.instance.id": instance})
    resource = own.merge(OTELResourceDetector().detect())
    exporter = metric_exporter.OTLPMetricExporter(endpoint.rstrip("/") + _PATH)
    heard = _Heard(endpoint)
    log = logging.getLogger(metric_exporter.__name__)
    began_ns, ended = time.time_ns(), Event()

    def send_on() -> None:
        is_last = False
        while not is_last or not heard.is_away:  # the last time only where it answered before
            figures = _figures(registry, resource, began_ns)
            if exporter.export(figures) is MetricExportResult.SUCCESS:
                heard.is_away = False
            if is_last:
                return
            is_last = ended.wait(interval_s)

    log.addFilter(heard)
    thread = Thread(target=send_on, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        if not heard.is_away:
            thread.join(_LAST_S)
        exporter.shutdown()  # also ends the wait for the next try
        thread.join(_END_S)
        log.removeFilter(heard)


class _Heard(logging.Filter):
    """Hears what the exporter logs, which is its failures only, and says it once."""

    def __init__(self, endpoint: str) -> None:
        super().__init__()
        self.is_away = False
        self._endpoint = endpoint
        self._is_said = False

    def filter(self, record: logging.LogRecord) -> bool:
        """Keeps a record from the log."""
        self.is_away = True
        if not self._is_said:
            self._is_said = True
            given = record.args if isinstance(record.args, tuple) else ()
            classes = [type(each).__name__ for each in given if isinstance(each, Exception)]
            _LOG.warning(
                "watch.otlp_endpoint: %s must take the figures of the run, found: %s; the run "
                "goes on, and they are sent again from time to time",
                self._endpoint,
                classes[0] if classes else record.getMessage(),
            )
        return False


def _figures(registry: CollectorRegistry, resource: "Resource", began_ns: int) -> "MetricsData":
    """All figures of a registry in the form of OpenTelemetry."""
    from opentelemetry.sdk.metrics import export as otel  # noqa: PLC0415 - as above
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope  # noqa: PLC0415

    now_ns = time.time_ns()
    metrics = []
    for family in registry.collect():
        samples = [each for each in family.samples if not each.name.endswith("_created")]
        points = [
            otel.NumberDataPoint(
                attributes=each.labels,
                start_time_unix_nano=began_ns,
                time_unix_nano=now_ns,
                value=each.value,
            )
            for each in samples
        ]
        if points:
            data = (
                otel.Sum(points, otel.AggregationTemporality.CUMULATIVE, is_monotonic=True)
                if family.type == "counter"
                else otel.Gauge(points)
            )
            metrics.append(otel.Metric(samples[0].name, family.documentation, unit="", data=data))
    scope = otel.ScopeMetrics(InstrumentationScope("sllm_data"), metrics, schema_url="")
    return otel.MetricsData([otel.ResourceMetrics(resource, [scope], schema_url="")])
