//! Requests in the logs of web servers.
//!
//! Nearly everything there is a scanner that got nothing. So only what was answered counts, and of
//! each address and kind one line is kept.

use std::collections::BTreeMap;

use flate2::read::MultiGzDecoder;

use super::{View, clock::Deadline, log_lines::lines};
use crate::{
    collect::root::unseen,
    facts::{Unseen, Why},
    formats::web_log::{self, Request},
    traces::{WebRequests, WebSign, WebTrace},
};

/// Where web servers log.
const FOLDERS: [&str; 5] =
    ["/var/log/apache2", "/var/log/httpd", "/var/log/nginx", "/var/log/lighttpd", "/var/log/caddy"];
/// Most logs that are read: a dozen sites with a week of rotations.
const LOGS_MAX: usize = 100;
/// Most addresses of which log-ins are counted.
const ADDRESSES_MAX: usize = 20_000;
/// Most traces that are kept.
const TRACES_MAX: usize = 1000;
/// Longest request that is kept, in characters.
const EXAMPLE_CHARS_MAX: usize = 160;
/// Refused log-ins before one that lets in.
const GUESSES: u64 = 20;

#[derive(Default)]
struct Reading {
    seen: WebRequests,
    found: BTreeMap<(WebSign, String), WebTrace>,
    /// Log-ins that were refused, by address.
    refused: BTreeMap<String, u64>,
}

pub(super) fn collect(view: &View, deadline: Deadline) -> WebRequests {
    let mut reading = Reading::default();
    for folder in FOLDERS {
        // The oldest first: who guesses comes before who gets in.
        for name in view.root.names_in(folder).iter().rev() {
            if !name.text.contains("access") {
                continue;
            }
            let path = format!("{folder}/{}", name.text);
            if reading.seen.logs.len() >= LOGS_MAX {
                let detail = format!("only {LOGS_MAX} logs of web servers are read");
                view.root.gap(path, &Unseen { why: Why::TooLarge, detail });
                break;
            }
            let read = view.root.open_file(&path).and_then(|(file, _)| {
                let mut take = |line: &str| reading.line(line, &path);
                match path.ends_with(".gz") {
                    true => lines(MultiGzDecoder::new(file), deadline, &[], &mut take),
                    false => lines(file, deadline, &[], &mut take),
                }
            });
            if let Err(error) = read {
                view.root.gap(path.clone(), &unseen(&path, &error));
            }
            reading.seen.logs.push(path);
        }
    }
    reading.seen.found = reading.found.into_values().collect();
    reading.seen
}

impl Reading {
    fn line(&mut self, line: &str, path: &str) {
        let Some(request) = web_log::request(line) else { return };
        self.seen.lines += 1;
        let guessed = self.login(&request);
        let sign = if guessed { Some(WebSign::Guessed) } else { web_log::sign(&request) };
        let Some(sign) = sign else { return };
        let key = (sign, request.from.to_owned());
        if self.found.len() >= TRACES_MAX && !self.found.contains_key(&key) {
            return;
        }
        let example = || {
            let text = format!("{} {} -> {}", request.method, request.target, request.status);
            text.chars().take(EXAMPLE_CHARS_MAX).collect()
        };
        let trace = self.found.entry(key).or_insert_with(|| WebTrace {
            sign,
            from: request.from.to_owned(),
            count: 0,
            first: request.at,
            last: request.at,
            example: example(),
            path: path.to_owned(),
        });
        trace.count += 1;
        trace.first = trace.first.into_iter().chain(request.at).min();
        trace.last = trace.last.into_iter().chain(request.at).max();
    }

    /// Counts log-ins; whether this one let somebody in who had guessed before.
    fn login(&mut self, request: &Request<'_>) -> bool {
        if !web_log::is_login(request) {
            return false;
        }
        let known = self.refused.contains_key(request.from);
        if request.status == 302 {
            return self.refused.get(request.from).is_some_and(|count| *count >= GUESSES);
        }
        if known || self.refused.len() < ADDRESSES_MAX {
            *self.refused.entry(request.from.to_owned()).or_default() += 1;
        }
        false
    }
}
