//! How many appends a second are acknowledged: one event a request, and each client waits for its answer.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nexus_cli::measuring::{Failure, Orders, Worker, drive};

use super::{Figure, Measures, Side};
use crate::Run;
use crate::stores::{Store, Writes};

const PLACE: &str = "appends";

pub(super) struct Appends {
    pub(super) clients: usize,
}

impl Measures for Appends {
    fn figure(&self) -> Figure {
        Figure::Rate
    }

    fn side<'r, S: Store + 'r>(&self, run: &'r Run, store: S) -> Result<Side<'r>, Failure> {
        let writers = run.runtime.block_on(async {
            store.make(PLACE).await?;
            store.writers(PLACE, self.clients).await
        })?;
        let orders = Arc::new(Orders::seeded());
        let mut appenders: Vec<_> = writers
            .into_iter()
            .enumerate()
            .map(|(number, writer)| Appender {
                writer,
                orders: Arc::clone(&orders),
                number: number as u64,
                step: self.clients as u64,
                next: None,
            })
            .collect();
        let duration = Duration::from_millis(run.amounts.turn_ms);
        let turn = move || {
            // The server lives as long as its clients.
            let _server = &store;
            drive(&run.runtime, &mut appenders, duration)
        };
        let note = format!(
            "{} clients, each with a connection of its own, one event a request, the next after the answer",
            self.clients
        );
        Ok(Side::new(run, S::NAME, note, turn))
    }
}

/// A client that appends one event after the other.
struct Appender<W> {
    writer: W,
    orders: Arc<Orders>,
    number: u64,
    /// To its next number, so that no two have the same.
    step: u64,
    next: Option<Bytes>,
}

impl<W: Writes> Worker for Appender<W> {
    fn prepare(&mut self) {
        if self.next.is_none() {
            self.next = Some(self.orders.numbered(self.number));
        }
    }

    async fn work(&mut self) -> Result<u64, Failure> {
        let data = self.next.take().expect("it was made ready");
        self.writer.append(self.number, data).await?;
        self.number += self.step;
        Ok(1)
    }
}
