//! Metrics of a node as OTLP has them.

use std::time::{Duration, SystemTime};

use nexus_engine::{DURATION_BOUNDS_US, Durations};
use nexus_node::telemetry::{MetricFamily, MetricKind, MetricValue, Sample};
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    AggregationTemporality, Gauge, Histogram, HistogramDataPoint, Metric, NumberDataPoint,
    ResourceMetrics, ScopeMetrics, Sum, metric, number_data_point,
};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prost::Message;

use super::otlp::SERVICE;

/// When the numbers began, and when they were taken, in nanoseconds since 1970.
#[derive(Clone, Copy)]
struct Times {
    started_ns: u64,
    now_ns: u64,
}

/// A request that carries all of them, as those of this resource, which is that of traces too.
pub(super) fn encode(
    families: &[MetricFamily],
    resource: &opentelemetry_sdk::Resource,
    started: SystemTime,
    now: SystemTime,
) -> Vec<u8> {
    let times = Times { started_ns: ns(started), now_ns: ns(now) };
    let metrics = families.iter().map(|family| metric_of(family, times)).collect();
    let scope = InstrumentationScope { name: SERVICE.to_owned(), ..Default::default() };
    let scope_metrics = vec![ScopeMetrics { scope: Some(scope), metrics, ..Default::default() }];
    let attributes = resource.iter().map(|(key, value)| KeyValue {
        key: key.as_str().to_owned(),
        value: Some(value.clone().into()),
        ..Default::default()
    });
    let resource = Some(Resource { attributes: attributes.collect(), ..Default::default() });
    let resource_metrics = vec![ResourceMetrics { resource, scope_metrics, ..Default::default() }];
    ExportMetricsServiceRequest { resource_metrics }.encode_to_vec()
}

fn ns(time: SystemTime) -> u64 {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: key.to_owned(), value: Some(value), ..Default::default() }
}

fn metric_of(family: &MetricFamily, times: Times) -> Metric {
    let temporality = AggregationTemporality::Cumulative.into();
    let numbers = || {
        let samples = family.samples.iter();
        samples.filter_map(|sample| number_of(sample, times)).collect()
    };
    let data = match family.descriptor.kind {
        MetricKind::Counter => metric::Data::Sum(Sum {
            data_points: numbers(),
            aggregation_temporality: temporality,
            is_monotonic: true,
        }),
        MetricKind::Gauge => metric::Data::Gauge(Gauge { data_points: numbers() }),
        MetricKind::Histogram => metric::Data::Histogram(Histogram {
            data_points: family.samples.iter().filter_map(|it| histogram_of(it, times)).collect(),
            aggregation_temporality: temporality,
        }),
    };
    let name = family.descriptor.name;
    Metric {
        name: name.to_owned(),
        description: family.descriptor.help.to_owned(),
        unit: if name.ends_with("_seconds") { "s".to_owned() } else { String::new() },
        data: Some(data),
        ..Default::default()
    }
}

fn attributes(sample: &Sample) -> Vec<KeyValue> {
    sample.labels.iter().map(|(key, value)| attribute(key, value)).collect()
}

fn number_of(sample: &Sample, times: Times) -> Option<NumberDataPoint> {
    let value = match sample.value {
        MetricValue::Number(number) => {
            number_data_point::Value::AsInt(i64::try_from(number).unwrap_or(i64::MAX))
        }
        MetricValue::Seconds(seconds) => number_data_point::Value::AsDouble(seconds),
        MetricValue::Durations(_) => return None,
    };
    Some(NumberDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: times.started_ns,
        time_unix_nano: times.now_ns,
        value: Some(value),
        ..Default::default()
    })
}

fn histogram_of(sample: &Sample, times: Times) -> Option<HistogramDataPoint> {
    let MetricValue::Durations(durations) = &sample.value else { return None };
    let durations: &Durations = durations;
    Some(HistogramDataPoint {
        attributes: attributes(sample),
        start_time_unix_nano: times.started_ns,
        time_unix_nano: times.now_ns,
        count: durations.count(),
        sum: Some(durations.sum().as_secs_f64()),
        bucket_counts: durations.counts.to_vec(),
        explicit_bounds: DURATION_BOUNDS_US
            .iter()
            .map(|bound| Duration::from_micros(*bound).as_secs_f64())
            .collect(),
        ..Default::default()
    })
}
