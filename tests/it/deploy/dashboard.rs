//! The Grafana dashboard: its shape, and what it asks.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// What a panel asks.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    /// `panel A`.
    pub of: String,
    /// With Grafana's variables.
    pub expr: String,
}

fn dashboard() -> Value {
    serde_json::from_str(&super::text("grafana/outlierd.json")).unwrap()
}

fn list<'a>(value: &'a Value, name: &str) -> &'a Vec<Value> {
    value[name].as_array().unwrap_or_else(|| panic!("no list `{name}` in {value}"))
}

fn string<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_else(|| panic!("no text `{name}` in {value}"))
}

/// Panels that show something.
fn panels(dashboard: &Value) -> impl Iterator<Item = &Value> {
    list(dashboard, "panels").iter().filter(|panel| panel["type"] != "row")
}

/// Every query of every panel.
pub fn queries() -> Vec<Query> {
    let dashboard = dashboard();
    let of_panel = |panel: &Value| -> Vec<Query> {
        let of = |target: &Value| format!("{} {}", string(panel, "title"), string(target, "refId"));
        let query = |target: &Value| Query { of: of(target), expr: string(target, "expr").to_owned() };
        list(panel, "targets").iter().map(query).collect()
    };
    panels(&dashboard).flat_map(of_panel).collect()
}

/// The queries of the variables, by name; `None` for those that ask nothing of the database.
pub fn variables() -> BTreeMap<String, Option<String>> {
    let dashboard = dashboard();
    let variables = list(&dashboard["templating"], "list").iter();
    let query =
        |variable: &Value| (variable["type"] == "query").then(|| string(&variable["query"], "query").to_owned());
    variables.map(|variable| (string(variable, "name").to_owned(), query(variable))).collect()
}

#[test]
fn panels_have_titles_units_and_queries_of_their_own() {
    let dashboard = dashboard();
    let mut ids = BTreeSet::new();
    for panel in list(&dashboard, "panels") {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "id {} is there twice", panel["id"]);
    }
    let mut titles = BTreeSet::new();
    for panel in panels(&dashboard) {
        let title = string(panel, "title");
        assert!(!title.is_empty() && titles.insert(title), "{title} is there twice");
        assert!(!string(panel, "description").is_empty(), "{title}");
        assert!(!string(&panel["fieldConfig"]["defaults"], "unit").is_empty(), "{title}");
        let targets = list(panel, "targets");
        let refs: BTreeSet<&str> = targets.iter().map(|target| string(target, "refId")).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{title}");
        for target in targets {
            assert!(!string(target, "expr").is_empty() && target["instant"] != target["range"], "{title}");
            let is_table = panel["type"] == "table";
            assert_eq!((target["format"] == "table", target["instant"] == true), (is_table, is_table), "{title}");
        }
    }
}

#[test]
fn panels_fill_the_grid_without_overlap() {
    let dashboard = dashboard();
    let mut taken = BTreeMap::new();
    let mut bottom = 0;
    for panel in list(&dashboard, "panels") {
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|name| panel["gridPos"][name].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{}", panel["title"]);
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            let other = taken.insert(cell, &panel["title"]);
            assert!(other.is_none(), "{} lies over {}", panel["title"], other.unwrap());
        }
        bottom = bottom.max(y + h);
    }
    assert_eq!(taken.len() as u64, COLUMNS * bottom, "there are holes");
}

#[test]
fn the_data_source_is_a_variable() {
    fn sources<'a>(value: &'a Value, found: &mut Vec<&'a Value>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("datasource"));
                fields.values().for_each(|field| sources(field, found));
            }
            Value::Array(items) => items.iter().for_each(|item| sources(item, found)),
            _ => {}
        }
    }
    let dashboard = dashboard();
    let mut found = Vec::new();
    sources(&dashboard, &mut found);
    let (ours, others): (Vec<&Value>, Vec<&Value>) = found
        .into_iter()
        .partition(|source| **source == serde_json::json!({"type": "prometheus", "uid": "${datasource}"}));
    // Every panel, its targets, and every variable with a query.
    let wanted = panels(&dashboard).count() + queries().len() + variables().values().flatten().count();
    assert_eq!(ours.len(), wanted);
    // Grafana's own, for the alerts that it draws by itself.
    assert_eq!(others, [&serde_json::json!({"type": "grafana", "uid": "-- Grafana --"})]);
    assert_eq!((&dashboard["id"], dashboard["schemaVersion"].as_u64()), (&Value::Null, Some(39)));
}

#[test]
fn variables_are_defined_and_used() {
    let whole = super::text("grafana/outlierd.json");
    let names = variables();
    let mut used = BTreeSet::new();
    for after in whole.split('$').skip(1) {
        let name = after.trim_start_matches('{');
        used.insert(&name[..name.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap()]);
    }
    used.retain(|name| !name.starts_with("__"));
    assert_eq!(used.into_iter().collect::<Vec<_>>(), names.keys().collect::<Vec<_>>());
}
