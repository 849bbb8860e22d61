//! What the page draws: charts and tables. The page knows nothing of what the numbers mean.

use serde::Serialize;

/// The state of a command.
#[derive(Debug, Serialize)]
pub(super) struct Status {
    /// The heading of the page, such as `mio-echo serve`.
    pub(super) title: String,
    /// A line about what runs: addresses, or a target.
    pub(super) about: String,
    /// The time since the start, in seconds.
    pub(super) uptime_s: f64,
    pub(super) charts: Vec<Chart>,
    pub(super) tables: Vec<Table>,
}

/// A chart of at most three series over time.
#[derive(Debug, Serialize)]
pub(super) struct Chart {
    pub(super) title: &'static str,
    /// The unit of its values: `bytes`, `bytes/s`, `seconds`, or another text that follows the number.
    pub(super) unit: &'static str,
    pub(super) series: Vec<Series>,
}

/// A line of a chart.
#[derive(Debug, Serialize)]
pub(super) struct Series {
    pub(super) name: &'static str,
    #[serde(flatten)]
    pub(super) value: Value,
}

/// The value of a series now.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Value {
    /// The value itself.
    Gauge(f64),
    /// A total that only grows. The page draws its growth a second.
    Total(f64),
    /// Each bucket has its upper bound, and the number of values above the previous bound and not above its own. The
    /// page draws the median and the 99th percentile of the values since it last asked.
    Buckets(Vec<(f64, u64)>),
}

/// A table. Each row has as many cells as there are columns.
#[derive(Debug, Serialize)]
pub(super) struct Table {
    pub(super) title: &'static str,
    pub(super) columns: Vec<&'static str>,
    pub(super) rows: Vec<Vec<Cell>>,
}

/// A cell of a table.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub(super) enum Cell {
    Text(String),
    Number(u64),
}

impl From<&str> for Cell {
    fn from(text: &str) -> Cell {
        Cell::Text(text.to_owned())
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Cell {
        Cell::Text(text)
    }
}

impl From<u64> for Cell {
    fn from(number: u64) -> Cell {
        Cell::Number(number)
    }
}

/// Returns a chart.
pub(super) fn chart(title: &'static str, unit: &'static str, series: Vec<Series>) -> Chart {
    Chart {
        title,
        unit,
        series,
    }
}

/// Returns a series.
pub(super) fn series(name: &'static str, value: Value) -> Series {
    Series { name, value }
}
