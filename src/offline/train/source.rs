//! Sources of rows: a CSV, or labelled data of which the unlabelled halves are taken. Recordings and databases are samples, which
//! need an engine: `cmd/train.rs` drives it.

use std::path::Path;

use anyhow::{Context, ensure};

use super::dataset::{Collector, Column, Scale};
use crate::base::bounds::Bounds;
use crate::config::{Feature, duration_text, is_name};
use crate::offline::labelled::{self, LabelledHost, TIME_MS_MAX};

/// Takes the rows of a CSV as `outlierd features` prints it: `host,t_ms,feature…`, empty where missing. A feature that is configured has
/// its expression, floor and bounds.
///
/// # Errors
/// The file cannot be read, or a line is malformed: with its number.
pub fn read_csv(path: &Path, configured: &[Feature], scale: Scale) -> anyhow::Result<Collector> {
    let mut reader = csv::Reader::from_path(path).with_context(|| format!("cannot read {}", path.display()))?;
    read_lines(&mut reader, configured, scale).with_context(|| format!("cannot read {}", path.display()))
}

fn read_lines<R: std::io::Read>(
    reader: &mut csv::Reader<R>,
    configured: &[Feature],
    scale: Scale,
) -> anyhow::Result<Collector> {
    let header = reader.headers()?.clone();
    ensure!(
        header.len() > 2 && &header[0] == "host" && &header[1] == "t_ms",
        "its first line must be `host,t_ms,` and the features, as `outlierd features` prints it"
    );
    ensure!(header.len() - 2 <= usize::from(u16::MAX), "it has more than 65535 features");
    for (n, name) in header.iter().enumerate().skip(2) {
        ensure!(
            is_name(name),
            "column {} is called `{name}`: letters, digits and `_` make the name of a feature",
            n + 1
        );
        ensure!(header.iter().take(n).all(|before| before != name), "the column `{name}` is there twice");
    }
    let mut collector = Collector::new(header.iter().skip(2).map(|name| column(name, configured)).collect(), scale);
    let (mut record, mut values) = (csv::StringRecord::new(), Vec::new());
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let t_ms = record[1].parse().ok().filter(|t_ms| (0..=TIME_MS_MAX).contains(t_ms));
        let t_ms = t_ms.with_context(|| format!("line {line}: `{}` is no time in ms since 1970", &record[1]))?;
        values.clear();
        for text in record.iter().skip(2) {
            let value = if text.is_empty() { Ok(f64::NAN) } else { text.parse::<f64>() };
            values.push(value.with_context(|| format!("line {line}: `{text}` is no number"))?);
        }
        collector.push(&record[0], t_ms, &values);
    }
    Ok(collector)
}

/// The column of a feature as it is configured, if it is.
#[must_use]
pub fn column(name: &str, configured: &[Feature]) -> Column {
    let feature = configured.iter().find(|feature| feature.name == name);
    Column {
        name: name.to_owned(),
        expr: feature.map(|feature| feature.expr.clone()),
        floor: feature.map_or(0.0, |feature| feature.floor),
        bounds: feature.map_or(Bounds::NONE, |feature| feature.bounds),
    }
}

/// Takes the unlabelled rows of the labelled hosts in `folder`. See [`labelled_features`].
///
/// # Errors
/// It cannot be read; its rows are not a step apart.
pub fn read_labelled(folder: &Path, configured: &[Feature], scale: Scale) -> anyhow::Result<Collector> {
    let hosts = labelled::read_hosts(folder)?;
    let is_scaled = hosts.iter().all(LabelledHost::is_scaled);
    // Where the publishers have scaled it, neither the preset's expressions nor its floors and bounds hold.
    let column = |name: &String| match is_scaled {
        true => Column { name: name.clone(), expr: None, floor: 0.0, bounds: Bounds::NONE },
        false => column(name, configured),
    };
    let columns = labelled_features(&hosts, configured).iter().map(column).collect();
    collect_unlabelled(&hosts.iter().collect::<Vec<_>>(), columns, scale)
}

/// The columns of `hosts` that a model is made of: those that move, and those that are configured, which may move elsewhere.
#[must_use]
pub fn labelled_features(hosts: &[LabelledHost], configured: &[Feature]) -> Vec<String> {
    let moving = labelled::moving_features(hosts);
    let mut features: Vec<String> = Vec::new();
    for name in hosts.iter().flat_map(|host| &host.features) {
        let is_known = moving.contains(name) || configured.iter().any(|feature| feature.name == *name);
        if is_known && !features.contains(name) {
            features.push(name.clone());
        }
    }
    features
}

/// Takes the unlabelled rows of `hosts`; columns that a host lacks are missing.
///
/// # Errors
/// Rows are not a step apart.
pub fn collect_unlabelled(hosts: &[&LabelledHost], columns: Vec<Column>, scale: Scale) -> anyhow::Result<Collector> {
    let step_ms = scale.step_ms;
    let names: Vec<String> = columns.iter().map(|column| column.name.clone()).collect();
    let mut collector = Collector::new(columns, scale);
    for host in hosts {
        ensure!(
            host.step_ms.is_none_or(|of_host| of_host == step_ms),
            "the rows of {} are {} apart: give --step that length",
            host.name,
            duration_text(host.step_ms.unwrap_or(step_ms))
        );
        let places: Vec<Option<usize>> =
            names.iter().map(|name| host.features.iter().position(|f| f == name)).collect();
        for (n, row) in host.values.rows().into_iter().take(host.n_unlabelled()).enumerate() {
            let values: Vec<f64> = places.iter().map(|place| place.map_or(f64::NAN, |place| row[place])).collect();
            let t_ms = host.t_ms.as_ref().map_or(n as i64 * step_ms, |times| times[n]);
            collector.push(&host.name, t_ms, &values);
        }
    }
    Ok(collector)
}

#[cfg(test)]
mod tests {
    use super::super::dataset::tests::scale;
    use super::*;

    fn read(text: &str) -> anyhow::Result<Collector> {
        read_lines(&mut csv::Reader::from_reader(text.as_bytes()), &[], scale())
    }

    #[test]
    fn rows_of_a_csv() {
        let mut text = "host,t_ms,a,b\n".to_owned();
        for row in 0..100 {
            text.push_str(&format!(
                "\"x,\"\"y\"\"\",{},{},{}\nz,{},1,\n",
                row * 60_000,
                row % 3,
                row % 5,
                row * 60_000
            ));
        }
        let data = read(&text).unwrap().finish();
        assert_eq!(data.hosts.iter().map(|host| host.name.as_str()).collect::<Vec<_>>(), ["x,\"y\"", "z"]);
        assert_eq!(data.hosts[0].stretches.iter().cloned().flatten().collect::<Vec<_>>(), (0..40).collect::<Vec<_>>());
        assert_eq!((data.hosts[1].seen[0].n_present, data.hosts[1].seen[1].n_present), (100, 0));
    }

    #[test]
    fn what_is_no_such_csv_is_refused_with_the_line() {
        let check = |text: &str, expected: &str| {
            let error = format!("{:#}", read(text).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        check("", "first line must be `host,t_ms,`");
        check("time,a\n1,2\n", "first line must be `host,t_ms,`");
        check("host,t_ms,a\nh,now,2\n", "line 2: `now` is no time");
        check("host,t_ms,a\nh,1,2\nh,2,x\n", "line 3: `x` is no number");
        check("host,t_ms,a\nh,1\n", "found record with 2 fields");
        check("host,t_ms,a\nh,-9223372036854775808,1\n", "line 2: `-9223372036854775808` is no time in ms since 1970");
        check("host,t_ms,a,b,a\n", "the column `a` is there twice");
        check("host,t_ms,a b\n", "column 3 is called `a b`: letters");
    }
}
