//! `GET /metrics`: the metrics of the process, then the series of the hosts, piece by piece, in the format that is asked for.

use bytes::Bytes;
use prometheus::{IntCounterVec, Opts, Registry};
use warp::Reply;
use warp::http::header::{CONTENT_ENCODING, CONTENT_TYPE, VARY};
use warp::http::{HeaderMap, StatusCode};
use warp::reply::Response;

use crate::results::metrics_text::{Omitted, Page};

use super::chunked_body::{ChunkedBody, Gzip};
use super::{Read, negotiation, own_metrics, reply};

pub(super) fn page(read: &Read, headers: &HeaderMap) -> Response {
    let format = negotiation::format(headers);
    let now_ms = read.clock.now_ms();
    let hosts = Page::new(&read.results, now_ms, &read.metrics, format);
    read.counts.observe(hosts.omitted);
    let own = match own_metrics::text(&read.registry.gather(), format) {
        Ok(own) => own,
        Err(error) => {
            return reply::text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the metrics: {error}"));
        }
    };
    let pieces = std::iter::once(Bytes::from(own)).chain(hosts);
    let mut response = if negotiation::takes_gzip(headers) {
        let mut response =
            warp::reply::stream(ChunkedBody::Idle(Gzip::new(pieces), read.limiter.clone())).into_response();
        reply::set(&mut response, CONTENT_ENCODING, "gzip");
        response
    } else {
        warp::reply::stream(ChunkedBody::Idle(pieces, read.limiter.clone())).into_response()
    };
    reply::set(&mut response, CONTENT_TYPE, format.content_type());
    reply::set(&mut response, VARY, "accept, accept-encoding");
    response
}

/// Counters of the page.
#[derive(Debug)]
pub(super) struct Counts {
    /// By the limit that kept them off.
    omitted: IntCounterVec,
}

impl Counts {
    pub(super) fn new(registry: &Registry) -> Result<Self, prometheus::Error> {
        let opts = Opts::new(
            "outlierd_result_series_omitted_total",
            "Series of hosts that pages of /metrics lacked since there were more than metrics.max_series.",
        );
        let omitted = IntCounterVec::new(opts, &["reason"])?;
        registry.register(Box::new(omitted.clone()))?;
        let counts = Self { omitted };
        counts.observe(Omitted::default());
        Ok(counts)
    }

    fn observe(&self, omitted: Omitted) {
        for (reason, n) in [("compact", omitted.compact), ("max_series", omitted.max_series)] {
            self.omitted.with_label_values(&[reason]).inc_by(n as u64);
        }
    }
}
