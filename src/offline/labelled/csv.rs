//! A host as `<host>.csv`: a header with the names of the features, a column `label`, and `t_ms` if rows have a time.
//!
//! Rows are in order. The first ones may have an empty label: history that nobody looked through. An empty value is missing. Names
//! and numbers need no quotes, and none are read.

use std::path::Path;

use anyhow::{Context, bail, ensure};
use ndarray::Array2;

use super::{LabelledHost, STEP_MS_MAX, TIME_MS_MAX, host_name};
use crate::series::TimestampMs;

/// The column that says whether a row belongs to an incident.
const LABEL: &str = "label";
/// The column that says when a row is, in milliseconds since 1970.
const TIME: &str = "t_ms";

pub(super) fn read(path: &Path) -> anyhow::Result<LabelledHost> {
    parse(&std::fs::read_to_string(path)?, host_name(path))
}

fn parse(text: &str, name: String) -> anyhow::Result<LabelledHost> {
    let mut lines = text.lines().enumerate().map(|(n, line)| (n + 1, line.trim_end_matches('\r')));
    let (_, header) = lines.next().context("it is empty: a header with the names of the features is needed")?;
    let header = Header::parse(header).context("line 1")?;
    let (mut values, mut label, mut t_ms) = (Vec::new(), Vec::new(), Vec::new());
    let mut n_rows = 0;
    for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
        let row = header.row(line).with_context(|| format!("line {number}"))?;
        let is_late = row.t_ms.zip(t_ms.last()).is_some_and(|(t_ms, last)| t_ms <= *last);
        ensure!(!is_late, "line {number}: `{TIME}` does not rise");
        ensure!(
            row.label.is_some() || label.is_empty(),
            "line {number}: the label is empty after rows that have one: rows without a label come first"
        );
        values.extend(row.values);
        label.extend(row.label);
        t_ms.extend(row.t_ms);
        n_rows += 1;
    }
    ensure!(!label.is_empty(), "it has no row with a label");
    let step_ms = t_ms.windows(2).map(|pair| pair[1] - pair[0]).min();
    ensure!(step_ms.is_none_or(|ms| ms <= STEP_MS_MAX), "its rows are more than a day apart");
    Ok(LabelledHost {
        name,
        values: Array2::from_shape_vec((n_rows, header.features.len()), values)?,
        features: header.features,
        t_ms: Some(t_ms).filter(|t_ms| t_ms.len() == n_rows),
        step_ms,
        label,
        blames: Vec::new(),
    })
}

/// Columns of the file.
struct Header {
    features: Vec<String>,
    /// All columns.
    columns: Vec<Column>,
}

#[derive(Clone, Copy, PartialEq)]
enum Column {
    Feature,
    Label,
    Time,
}

/// One line.
#[derive(Default)]
struct Row {
    values: Vec<f64>,
    label: Option<bool>,
    t_ms: Option<TimestampMs>,
}

impl Header {
    fn parse(line: &str) -> anyhow::Result<Self> {
        let names: Vec<&str> = line.trim_start_matches('\u{feff}').split(',').map(str::trim).collect();
        ensure!(!line.contains('"'), "names are not quoted");
        for (n, name) in names.iter().enumerate() {
            ensure!(!name.is_empty(), "column {} has no name", n + 1);
            ensure!(!names[..n].contains(name), "the column `{name}` is there twice");
        }
        let column = |name: &&str| match *name {
            LABEL => Column::Label,
            TIME => Column::Time,
            _ => Column::Feature,
        };
        let columns: Vec<Column> = names.iter().map(column).collect();
        ensure!(
            columns.contains(&Column::Label),
            "there is no column `{LABEL}`: it must be 1 in the rows of an incident, 0 in others and empty in rows that nobody looked at"
        );
        let features = names.iter().zip(&columns).filter(|(_, column)| **column == Column::Feature);
        let features: Vec<String> = features.map(|(name, _)| (*name).to_owned()).collect();
        ensure!(!features.is_empty(), "there is no column of a feature");
        Ok(Self { features, columns })
    }

    fn row(&self, line: &str) -> anyhow::Result<Row> {
        let cells: Vec<&str> = line.split(',').map(str::trim).collect();
        let (n_cells, n_columns) = (cells.len(), self.columns.len());
        ensure!(n_cells == n_columns, "it has {n_cells} cells, the header has {n_columns}");
        let mut row = Row::default();
        for (cell, column) in cells.into_iter().zip(&self.columns) {
            match column {
                Column::Feature if cell.is_empty() => row.values.push(f64::NAN),
                Column::Feature => {
                    let value: f64 = cell.parse().ok().with_context(|| format!("`{cell}` is no number"))?;
                    // A number that cannot be computed with is as good as none.
                    row.values.push(if value.is_finite() { value } else { f64::NAN });
                }
                Column::Label => {
                    row.label = match cell {
                        "" => None,
                        "0" => Some(false),
                        "1" => Some(true),
                        other => bail!("the label is `{other}`: 0, 1 and nothing are possible"),
                    }
                }
                Column::Time => {
                    let t_ms = cell.parse().ok().filter(|t_ms| (0..=TIME_MS_MAX).contains(t_ms));
                    row.t_ms = Some(t_ms.with_context(|| format!("`{cell}` is no time in milliseconds since 1970"))?);
                }
            }
        }
        Ok(row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_with_and_without_labels_and_times() {
        let host = parse("t_ms,a,label,b\n0,1,,2\n60000,,0,NaN\r\n180000,-1e3,1,inf\n", "h".into()).unwrap();
        assert_eq!((host.features.join(" "), host.n_unlabelled()), ("a b".to_owned(), 1));
        assert_eq!(
            (host.label, host.t_ms, host.step_ms),
            (vec![false, true], Some(vec![0, 60_000, 180_000]), Some(60_000))
        );
        assert_eq!(host.values.row(0).to_vec(), [1.0, 2.0]);
        assert!(host.values[[1, 0]].is_nan() && host.values[[1, 1]].is_nan() && host.values[[2, 1]].is_nan());
        let plain = parse("label,a\n0,1\n", "h".into()).unwrap();
        assert_eq!((plain.t_ms, plain.step_ms), (None, None));
    }

    #[test]
    fn mistakes_are_told_with_their_line() {
        let check = |text: &str, expected: &str| {
            let error = format!("{:#}", parse(text, "h".into()).unwrap_err());
            assert!(error.starts_with(expected), "{error}");
        };
        check("", "it is empty");
        check("a,b\n1,2\n", "line 1: there is no column `label`");
        check("a,a,label\n", "line 1: the column `a` is there twice");
        check("a,,label\n", "line 1: column 2 has no name");
        check("t_ms,label\n", "line 1: there is no column of a feature");
        check("a,label\n", "it has no row with a label");
        check("a,label\n1,\n2,\n", "it has no row with a label");
        check("a,label\n1,0\n2\n", "line 3: it has 1 cells, the header has 2");
        check("a,label\nx,0\n", "line 2: `x` is no number");
        check("a,label\n1,2\n", "line 2: the label is `2`");
        check("a,label\n1,0\n\n2,\n", "line 4: the label is empty after rows that have one");
        check("t_ms,a,label\n5,1,0\n5,1,0\n", "line 3: `t_ms` does not rise");
        check("t_ms,a,label\n,1,0\n", "line 2: `` is no time");
        check("t_ms,a,label\n-1,1,0\n", "line 2: `-1` is no time in milliseconds since 1970");
        check("t_ms,a,label\n9223372036854775807,1,0\n", "line 2: `9223372036854775807` is no time");
        check("t_ms,a,label\n0,1,0\n86400001,1,1\n", "its rows are more than a day apart");
    }
}
