//! Parts that expressions have in common, such as `cpu - idle` in two of them: evaluated once per host and step, whoever asks.

use std::collections::HashMap;

use super::program::{Node, PartId};

/// Takes what stands more than once in `features` out of them. Returns the parts, each after those that stand in it.
pub(super) fn take_common(features: &mut [Node]) -> Vec<Node> {
    let mut common = Common::default();
    features.iter_mut().for_each(|node| common.count(node));
    features.iter_mut().for_each(|node| common.replace(node));
    common.parts
}

/// Nodes by their text: equal for those that give the same.
#[derive(Default)]
struct Common {
    /// Times that a node stands in the features and in the parts, where each part stands once.
    uses: HashMap<String, u32>,
    ids: HashMap<String, PartId>,
    parts: Vec<Node>,
}

impl Common {
    fn count(&mut self, node: &mut Node) {
        let uses = self.uses.entry(text(node)).or_default();
        *uses += 1;
        if *uses == 1 {
            node.for_each_operand(&mut |operand| self.count(operand));
        }
    }

    fn replace(&mut self, node: &mut Node) {
        let text = text(node);
        if let Some(id) = self.ids.get(&text) {
            *node = Node::Part(*id);
            return;
        }
        node.for_each_operand(&mut |operand| self.replace(operand));
        // A leaf is evaluated once as it is.
        let is_common = !matches!(node, Node::Leaf(_)) && self.uses.get(&text).is_some_and(|uses| *uses > 1);
        if let (true, Ok(id)) = (is_common, PartId::try_from(self.parts.len())) {
            self.ids.insert(text, id);
            self.parts.push(std::mem::replace(node, Node::Part(id)));
        }
    }
}

fn text(node: &Node) -> String {
    format!("{node:?}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::promql::plan::{FeatureSource, Plan};

    fn parts_of(exprs: &[&str]) -> (usize, Plan) {
        let source = |expr| FeatureSource { name: "f", expr, at: "test:1:1" };
        let sources: Vec<_> = exprs.iter().copied().map(source).collect();
        let plan = Plan::compile(&sources, 300_000).unwrap();
        (plan.parts.len(), plan)
    }

    #[test]
    fn what_stands_twice_is_one_part_and_what_stands_once_is_none() {
        let (n_parts, plan) = parts_of(&["sum(a + b) / 2", "sum(a + b) / 3", "a - b"]);
        assert_eq!(n_parts, 1, "a + b stands once in it");
        let is_part = |node: &Node| matches!(node, Node::WithScalar { vector, .. } if **vector == Node::Part(0));
        assert!(is_part(&plan.features[0]) && is_part(&plan.features[1]), "{:?}", plan.features);
        assert_eq!(parts_of(&["sum(a + b)", "avg(a + b)"]).0, 1);
        assert_eq!(parts_of(&["sum(a)", "sum(b)", "a", "a"]).0, 0, "a leaf is no part");
    }

    #[test]
    fn parts_stand_in_parts_and_in_numbers() {
        let (n_parts, plan) = parts_of(&["a > scalar(sum(b))", "sum(b) + sum(sum(b) * a)", "sum(sum(b) * a)"]);
        assert_eq!(n_parts, 2, "{:?}", plan.parts);
        let mut refers = Vec::new();
        let mut note = |node: &mut Node| {
            if let Node::Part(id) = node {
                refers.push(*id)
            }
        };
        let mut inner = plan.parts[1].clone();
        inner.for_each_operand(&mut |operand| operand.for_each_operand(&mut note));
        assert_eq!(refers, [0], "{:?}", plan.parts);
    }
}
