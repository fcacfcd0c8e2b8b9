//! The linear algebra of the baselines: a ridge regression and the first principal directions.
//!
//! Some tens to some hundreds of dimensions: two textbook methods over `ndarray`, whose products do the work, are less to keep than
//! a linear-algebra crate.

use ndarray::Array2;

/// Rounds of the power iteration.
const ROUNDS: usize = 60;

/// The `W` with the least `‖X·W − Y‖² + lambda·‖W‖²`, from `gram = XᵀX` and `cross = XᵀY`, by Cholesky. `lambda` is over 0.
#[must_use]
pub fn ridge(gram: &Array2<f64>, cross: &Array2<f64>, lambda: f64) -> Array2<f64> {
    let n = gram.nrows();
    let mut lower = Array2::<f64>::zeros((n, n));
    for i in 0..n {
        for j in 0..=i {
            let rest = gram[[i, j]] - lower.row(i).dot(&lower.row(j));
            // Rounding may leave less than nothing of a column that others make up.
            lower[[i, j]] = if i == j { (rest + lambda).max(lambda * 1e-9).sqrt() } else { rest / lower[[j, j]] };
        }
    }
    let mut solved = cross.clone();
    for i in 0..n {
        let mut rest = solved.row(i).to_owned();
        for k in 0..i {
            rest.scaled_add(-lower[[i, k]], &solved.row(k));
        }
        solved.row_mut(i).assign(&(rest / lower[[i, i]]));
    }
    for i in (0..n).rev() {
        let mut rest = solved.row(i).to_owned();
        for k in i + 1..n {
            rest.scaled_add(-lower[[k, i]], &solved.row(k));
        }
        solved.row_mut(i).assign(&(rest / lower[[i, i]]));
    }
    solved
}

/// Orthonormal columns that span the directions of the `n` largest eigenvalues of the symmetric `covariance`; fewer columns where it
/// has no more directions.
#[must_use]
pub fn principal(covariance: &Array2<f64>, n: usize) -> Array2<f64> {
    let size = covariance.nrows();
    let mut state = 1_u64;
    let start = |_| {
        // Any start does but one at right angles to a direction; Knuth's generator gives the same one each time.
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 11) as f64 / (1_u64 << 53) as f64 - 0.5
    };
    let mut directions = orthonormal(Array2::from_shape_simple_fn((size, n.min(size)), {
        let mut start = start;
        move || start(())
    }));
    for _ in 0..ROUNDS {
        directions = orthonormal(covariance.dot(&directions));
    }
    directions
}

/// Gram and Schmidt, twice for the sake of rounding; columns that the ones before make up are left out.
fn orthonormal(columns: Array2<f64>) -> Array2<f64> {
    let mut kept: Vec<ndarray::Array1<f64>> = Vec::new();
    for column in columns.columns() {
        let before = column.dot(&column).sqrt();
        let mut rest = column.to_owned();
        for _ in 0..2 {
            for one in &kept {
                let along = one.dot(&rest);
                rest.scaled_add(-along, one);
            }
        }
        let norm = rest.dot(&rest).sqrt();
        if norm > 1e-10 * before && norm > 0.0 {
            kept.push(rest / norm);
        }
    }
    let mut out = Array2::zeros((columns.nrows(), kept.len()));
    for (mut column, one) in out.columns_mut().into_iter().zip(&kept) {
        column.assign(one);
    }
    out
}

#[cfg(test)]
mod tests {
    use ndarray::array;

    use super::*;

    fn close(a: &Array2<f64>, b: &Array2<f64>) -> bool {
        a.dim() == b.dim() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-9)
    }

    #[test]
    fn ridge_solves_its_normal_equations() {
        // (4 + 1)·w = 10
        assert!(close(&ridge(&array![[4.0]], &array![[10.0]], 1.0), &array![[2.0]]));
        // [[3, 1], [1, 3]]·(2, -1)ᵀ = (5, -1)ᵀ, and twice that.
        let solved = ridge(&array![[2.0, 1.0], [1.0, 2.0]], &array![[5.0, 10.0], [-1.0, -2.0]], 1.0);
        assert!(close(&solved, &array![[2.0, 4.0], [-1.0, -2.0]]));
        // Two columns that are the same share the weight.
        let gram = array![[1.0, 1.0], [1.0, 1.0]];
        assert!(ridge(&gram, &array![[1.0], [1.0]], 1e-6).iter().all(|w| (w - 0.5).abs() < 1e-5));
    }

    #[test]
    fn principal_directions_are_the_eigenvectors() {
        // Eigenvalues 3 along (1, 1)/√2, 1 along (1, -1)/√2, and 0.5.
        let covariance = array![[2.0, 1.0, 0.0], [1.0, 2.0, 0.0], [0.0, 0.0, 0.5]];
        let two = principal(&covariance, 2);
        let onto = two.dot(&two.t());
        assert!(close(&onto, &array![[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]), "{onto}");
        let one = principal(&covariance, 1);
        assert!(close(&one.dot(&one.t()), &array![[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.0]]));
        // No more directions than there are.
        assert_eq!(principal(&array![[1.0, 0.0], [0.0, 0.0]], 2).ncols(), 1);
        assert_eq!(principal(&Array2::zeros((3, 3)), 2).ncols(), 0);
    }
}
