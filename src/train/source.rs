//! Where rows come from: a CSV, or labelled data of which the unlabelled halves are taken. Recordings and databases are samples, which
//! need an engine: `cmd/train.rs` drives it.

use std::path::Path;

use anyhow::{Context, ensure};

use super::dataset::{Collector, Column, Scale};
use super::smd;
use crate::config::Feature;

/// Takes the rows of a CSV as `outlierd features` prints it: `host,t_ms,feature…`, empty where missing. A feature that is configured has
/// its expression and floor.
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
    let mut collector = Collector::new(header.iter().skip(2).map(|name| column(name, configured)).collect(), scale);
    let (mut record, mut values) = (csv::StringRecord::new(), Vec::new());
    while reader.read_record(&mut record)? {
        let line = record.position().map_or(0, csv::Position::line);
        let t_ms = record[1].parse().with_context(|| format!("line {line}: `{}` is no time in ms", &record[1]))?;
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
    let floor = feature.map_or(0.0, |feature| feature.floor);
    Column { name: name.to_owned(), expr: feature.map(|feature| feature.expr.clone()), floor }
}

/// Takes the unlabelled halves of the Server Machine Dataset in `folder`, or in `smd` inside it.
///
/// # Errors
/// It is not there, which says where it can be had, or it has other shapes.
pub fn read_labelled(folder: &Path, scale: Scale) -> anyhow::Result<Collector> {
    ensure!(
        scale.step_ms == smd::STEP_MS,
        "the rows of {} are a minute apart: leave --step out, or make it 60s",
        folder.display()
    );
    let data = if folder.ends_with("smd") { folder.parent().unwrap_or(folder) } else { folder };
    // Scaled to 0..1 by its publishers: neither the preset's expressions nor its floors hold.
    let columns = smd::FEATURES.map(|name| Column { name: name.to_owned(), expr: None, floor: 0.0 });
    let mut collector = Collector::new(columns.to_vec(), scale);
    for host in smd::read_hosts(data)? {
        for (n, row) in (0..).zip(host.values.rows().into_iter().take(host.n_train)) {
            let values: Vec<f64> = row.iter().map(|&x| f64::from(x)).collect();
            collector.push(&host.name, n * smd::STEP_MS, &values);
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
    }
}
