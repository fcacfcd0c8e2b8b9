//! The optimiser: Adam (Kingma and Ba, 2015, algorithm 1), without weight decay.

use ndarray::{Array2, Zip};

/// Memory of the gradients' mean and of their squares', as the authors recommend.
const MEMORIES: [f32; 2] = [0.9, 0.999];
/// Added to the root of the mean square.
const EPSILON: f32 = 1e-8;

/// Memory of the gradients of some parameters.
#[derive(Debug)]
pub struct Adam {
    /// By parameter: running means of its gradient and of the gradient's square.
    moments: Vec<[Array2<f32>; 2]>,
    /// Steps taken.
    step: i32,
}

impl Adam {
    /// For parameters of these shapes.
    #[must_use]
    pub fn new<'a>(parameters: impl Iterator<Item = &'a Array2<f32>>) -> Self {
        let moments = parameters.map(|p| [Array2::zeros(p.raw_dim()), Array2::zeros(p.raw_dim())]).collect();
        Self { moments, step: 0 }
    }

    /// Changes the parameters by a step against their `gradients`, both in the order of [`Adam::new`].
    pub fn step<'a>(
        &mut self,
        parameters: impl Iterator<Item = &'a mut Array2<f32>>,
        gradients: &[Array2<f32>],
        learning_rate: f64,
    ) {
        self.step = self.step.saturating_add(1);
        // Both means start at 0: what that takes from them.
        let [unbias_mean, unbias_square] = MEMORIES.map(|memory| 1.0 / (1.0 - memory.powi(self.step)));
        let learning_rate = learning_rate as f32;
        for ((parameter, gradient), [mean, square]) in parameters.zip(gradients).zip(&mut self.moments) {
            Zip::from(parameter).and(gradient).and(mean).and(square).for_each(|parameter, &gradient, mean, square| {
                *mean = MEMORIES[0] * *mean + (1.0 - MEMORIES[0]) * gradient;
                *square = MEMORIES[1] * *square + (1.0 - MEMORIES[1]) * gradient * gradient;
                *parameter -= learning_rate * *mean * unbias_mean / ((*square * unbias_square).sqrt() + EPSILON);
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    #[test]
    fn two_steps_by_hand() {
        let mut parameter = array![[1.0_f32, -2.0]];
        let mut adam = Adam::new([&parameter].into_iter());
        // The first step is as long as the learning rate, whatever the gradient.
        adam.step([&mut parameter].into_iter(), &[array![[0.5, -100.0]]], 0.1);
        assert!((parameter[(0, 0)] - 0.9).abs() < 1e-6 && (parameter[(0, 1)] + 1.9).abs() < 1e-6, "{parameter}");
        // mean (.9·.05 + .1·-1) / .19 = -.289474, square (.999·.00025 + .001·1) / .001999 = .625188
        adam.step([&mut parameter].into_iter(), &[array![[-1.0, 0.0]]], 0.1);
        assert!((parameter[(0, 0)] - (0.9 + 0.1 * 0.289_474 / 0.625_188_f32.sqrt())).abs() < 1e-5, "{parameter}");
    }

    #[test]
    fn the_bottom_of_a_bowl_is_found() {
        let mut parameter = array![[3.0_f32, -4.0]];
        let mut adam = Adam::new([&parameter].into_iter());
        for step in 0..2_000 {
            let gradient = array![[2.0 * (parameter[(0, 0)] - 1.0), 200.0 * (parameter[(0, 1)] - 2.0)]];
            adam.step([&mut parameter].into_iter(), &[gradient], 0.05 * (1.0 - f64::from(step) / 2_000.0));
        }
        assert!((&parameter - &array![[1.0, 2.0]]).iter().all(|apart| apart.abs() < 1e-2), "{parameter}");
    }
}
