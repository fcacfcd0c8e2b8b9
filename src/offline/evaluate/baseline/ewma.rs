//! The exponentially weighted mean of the rows before: a forecast without anything to train.

/// Weight of the newest row: about the last five rows count.
const WEIGHT: f64 = 0.2;

pub(super) struct Ewma {
    /// By feature, standardised.
    mean: Vec<f64>,
}

impl Ewma {
    pub(super) fn new(n_features: usize) -> Self {
        Self { mean: vec![0.0; n_features] }
    }

    /// Returns what it expected of this row, which it then learns.
    pub(super) fn expect(&mut self, input: &[f64]) -> Vec<f64> {
        let expected = self.mean.clone();
        for (mean, z) in self.mean.iter_mut().zip(input) {
            *mean += WEIGHT * (z - *mean);
        }
        expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_expects_what_was() {
        let mut ewma = Ewma::new(1);
        let got = [5.0, 0.0, 0.0].map(|z| ewma.expect(&[z])[0]);
        // 0, .2 · 5, 1 − .2 · 1
        assert!(got.iter().zip([0.0, 1.0, 0.8]).all(|(a, b)| (a - b).abs() < 1e-12), "{got:?}");
    }
}
