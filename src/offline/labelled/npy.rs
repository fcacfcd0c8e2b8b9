//! One array as numpy writes it: a head that says type, order and shape, then the values.
//!
//! Nothing is believed before it is there: a head that promises a terabyte, or an archive that unpacks to one, costs no more memory
//! than [`VALUES_MAX`] values. Types that labelled data doesn't have are refused.

use std::io::Read;

use anyhow::{Context, bail, ensure};
use ndarray::{Array1, Array2, ShapeBuilder as _};

/// Values of an array: a year of one row a minute with 60 columns.
const VALUES_MAX: usize = 32 << 20;
/// Bytes of a head; numpy's have about 100.
const HEAD_BYTES_MAX: usize = 4_096;
const MAGIC: &[u8] = b"\x93NUMPY";

/// Content of the head.
struct Head {
    /// Such as `<f4`.
    descr: String,
    /// Whether the first axis moves fastest.
    is_fortran: bool,
    shape: Vec<usize>,
}

/// A matrix of float32 or float64.
pub(super) fn matrix(reader: &mut impl Read) -> anyhow::Result<Array2<f64>> {
    let head = Head::read(reader)?;
    let &[rows, columns] = head.shape.as_slice() else {
        bail!("its shape is {:?}: rows and columns are needed", head.shape)
    };
    let values: Vec<f64> = match head.descr.as_str() {
        "<f4" => values(reader, &head.shape, |bytes| f64::from(f32::from_le_bytes(bytes)))?,
        "<f8" => values(reader, &head.shape, f64::from_le_bytes)?,
        other => bail!("its type is {other}: float32 (<f4) and float64 (<f8) are read"),
    };
    Ok(Array2::from_shape_vec((rows, columns).set_f(head.is_fortran), values)?)
}

/// A vector of uint8 or bool.
pub(super) fn vector(reader: &mut impl Read) -> anyhow::Result<Array1<u8>> {
    let head = Head::read(reader)?;
    ensure!(head.shape.len() == 1, "its shape is {:?}: a vector is needed", head.shape);
    ensure!(
        matches!(head.descr.as_str(), "|u1" | "|b1"),
        "its type is {}: uint8 (|u1) and bool (|b1) are read",
        head.descr
    );
    Ok(values(reader, &head.shape, |[byte]| byte)?.into())
}

/// As many values of `N` bytes as the shape says, and nothing after them.
fn values<const N: usize, T>(
    reader: &mut impl Read,
    shape: &[usize],
    value: impl Fn([u8; N]) -> T,
) -> anyhow::Result<Vec<T>> {
    let n = shape.iter().try_fold(1_usize, |n, axis| n.checked_mul(*axis)).filter(|n| *n <= VALUES_MAX);
    let n_bytes = N * n.with_context(|| format!("its shape is {shape:?}: at most {VALUES_MAX} values are read"))?;
    let mut bytes = Vec::new();
    reader.take(n_bytes as u64 + 1).read_to_end(&mut bytes)?;
    ensure!(
        bytes.len() == n_bytes,
        "it has {} bytes of values than its shape {shape:?} says",
        if bytes.len() < n_bytes { "fewer" } else { "more" }
    );
    Ok(bytes.as_chunks::<N>().0.iter().map(|bytes| value(*bytes)).collect())
}

impl Head {
    fn read(reader: &mut impl Read) -> anyhow::Result<Self> {
        let mut start = [0; 8];
        reader.read_exact(&mut start).context("it ends early")?;
        let [magic @ .., major, _] = &start;
        ensure!(magic == MAGIC, "it is no array of numpy");
        // From version 2 on a head may be longer than 64 KiB.
        let mut length = [0; 4];
        let n_length = if *major == 1 { 2 } else { 4 };
        reader.read_exact(length.get_mut(..n_length).unwrap_or_default()).context("it ends early")?;
        let length = u32::from_le_bytes(length) as usize;
        ensure!(length <= HEAD_BYTES_MAX, "its head has {length} bytes: at most {HEAD_BYTES_MAX} are read");
        let mut text = vec![0; length];
        reader.read_exact(&mut text).context("it ends early")?;
        let text = String::from_utf8_lossy(&text);
        Self::parse(&text).with_context(|| format!("its head cannot be read: {}", text.trim_end()))
    }

    /// `{'descr': '<f4', 'fortran_order': False, 'shape': (300, 2), }`
    fn parse(text: &str) -> Option<Self> {
        let after = |key: &str| {
            let (_, after) = text.split_once(key)?;
            Some(after.trim_start().strip_prefix(':')?.trim_start())
        };
        let (descr, _) = after("'descr'")?.strip_prefix('\'')?.split_once('\'')?;
        let order = after("'fortran_order'")?;
        let (shape, _) = after("'shape'")?.strip_prefix('(')?.split_once(')')?;
        let axes = shape.split(',').map(str::trim).filter(|axis| !axis.is_empty());
        Some(Self {
            descr: descr.to_owned(),
            is_fortran: match order {
                _ if order.starts_with("True") => true,
                _ if order.starts_with("False") => false,
                _ => return None,
            },
            shape: axes.map(|axis| axis.parse().ok()).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn array(head: &str, values: &[u8]) -> Vec<u8> {
        [MAGIC, &[1, 0], &u16::try_from(head.len()).unwrap().to_le_bytes(), head.as_bytes(), values].concat()
    }

    fn head(descr: &str, order: &str, shape: &str) -> String {
        format!("{{'descr': '{descr}', 'fortran_order': {order}, 'shape': {shape}, }}    \n")
    }

    #[test]
    fn matrices_and_vectors() {
        let floats: Vec<u8> = [1.0, 2.0, 3.0, 4.0_f32].iter().flat_map(|x| x.to_le_bytes()).collect();
        let check = |order: &str, expected: [[f64; 2]; 2]| {
            let read = matrix(&mut array(&head("<f4", order, "(2, 2)"), &floats).as_slice()).unwrap();
            assert_eq!(read, ndarray::arr2(&expected), "{order}");
        };
        check("False", [[1.0, 2.0], [3.0, 4.0]]);
        check("True", [[1.0, 3.0], [2.0, 4.0]]);
        let double = matrix(&mut array(&head("<f8", "False", "(1, 1)"), &0.1_f64.to_le_bytes()).as_slice()).unwrap();
        assert_eq!(double, ndarray::arr2(&[[0.1]]));
        assert_eq!(
            vector(&mut array(&head("|b1", "False", "(3,)"), &[0, 1, 1]).as_slice()).unwrap().to_vec(),
            [0, 1, 1]
        );
        assert_eq!(matrix(&mut array(&head("<f4", "False", "(0, 9)"), &[]).as_slice()).unwrap().dim(), (0, 9));
    }

    #[test]
    fn what_cannot_be_is_refused_before_memory_is_taken() {
        let check = |bytes: &[u8], expected: &str| {
            let error = format!("{:#}", matrix(&mut &*bytes).unwrap_err());
            assert!(error.contains(expected), "{error}");
        };
        let with = |descr: &str, shape: &str, n: usize| array(&head(descr, "False", shape), &vec![0; n]);
        check(b"", "it ends early");
        check(b"<html>no array</html>", "no array of numpy");
        check(&with("<f4", "(1, 2)", 7), "fewer bytes of values than its shape [1, 2] says");
        check(&with("<f4", "(1, 2)", 9), "more bytes of values");
        check(&with("<f4", "(3,)", 12), "its shape is [3]: rows and columns are needed");
        check(&with("<i8", "(1, 1)", 8), "its type is <i8");
        check(&with("<f4", "(-1, 2)", 8), "its head cannot be read: {'descr'");
        check(&with("<f4", "(99999999999, 2)", 8), "at most 33554432 values are read");
        check(&with("<f4", "(9223372036854775807, 9223372036854775807)", 8), "at most 33554432 values");
        check(&array("[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", &[]), "its head cannot be read");
        check(&array(&head("<f4", "0", "(1, 1)"), &[0; 4]), "its head cannot be read");
        check(&[MAGIC, &[2, 0, 0xff, 0xff, 0xff, 0xff]].concat(), "its head has 4294967295 bytes");
        // The limit holds where the shape is a lie of the other way too: an endless stream is not read on.
        let endless = array(&head("<f4", "False", "(1, 1)"), &[]);
        let error = matrix(&mut endless.as_slice().chain(std::io::repeat(0))).unwrap_err();
        assert!(error.to_string().contains("more bytes"), "{error}");
    }
}
