//! Whether the features with the largest errors are those that the labellers blamed.

/// Quality of the explanations of some incidents.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Explanation {
    /// Incidents with a blamed feature and an error.
    pub events: usize,
    /// Of these, those whose largest error is of a blamed feature.
    pub top_hits: usize,
    /// Sum over incidents of the share of blamed features among as many of the largest errors: HitRate@100.
    pub hit_rate_sum: f64,
}

impl Explanation {
    /// Adds an incident: `errors` by feature, and the `blamed` features.
    pub fn add(&mut self, errors: &[f64], blamed: &[usize]) {
        let mut ranked: Vec<usize> = (0..errors.len()).collect();
        // Stable: equal errors stay in the order of the features.
        ranked.sort_by(|a, b| errors[*b].total_cmp(&errors[*a]));
        let n_hits = ranked.iter().take(blamed.len()).filter(|feature| blamed.contains(feature)).count();
        let Some(top) = ranked.first().filter(|top| !blamed.is_empty() && errors[**top] > 0.0) else { return };
        self.events += 1;
        self.top_hits += usize::from(blamed.contains(top));
        self.hit_rate_sum += n_hits as f64 / blamed.len() as f64;
    }

    /// Adds those of another host.
    pub fn add_all(&mut self, other: &Self) {
        self.events += other.events;
        self.top_hits += other.top_hits;
        self.hit_rate_sum += other.hit_rate_sum;
    }

    /// Share of incidents whose largest error is of a blamed feature.
    #[must_use]
    pub fn top1(&self) -> Option<f64> {
        (self.events > 0).then(|| self.top_hits as f64 / self.events as f64)
    }

    /// Mean share of the blamed features found.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        (self.events > 0).then(|| self.hit_rate_sum / self.events as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_explanations() {
        let check = |errors: &[f64], blamed: &[usize], top1: Option<f64>, hit_rate: Option<f64>| {
            let mut explanation = Explanation::default();
            explanation.add(errors, blamed);
            assert_eq!((explanation.top1(), explanation.hit_rate()), (top1, hit_rate), "{errors:?} {blamed:?}");
        };
        check(&[1.0, 9.0, 3.0, 0.0], &[1], Some(1.0), Some(1.0));
        // The three largest are 1, 2, 0; of the blamed 1, 3, 2 that is two.
        check(&[1.0, 9.0, 3.0, 0.0], &[1, 3, 2], Some(1.0), Some(2.0 / 3.0));
        check(&[1.0, 9.0, 3.0, 0.0], &[2], Some(0.0), Some(0.0));
        check(&[1.0, 9.0], &[], None, None);
        check(&[0.0, 0.0], &[0], None, None);
    }
}
