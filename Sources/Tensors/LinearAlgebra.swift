import COpenBLAS

/// Factorisations by LAPACK, on host arrays in row-major order.
public enum LinearAlgebra {
  /// The thin singular value decomposition `a = u · diag(s) · vt` of an m × n matrix, k = min(m, n): u is m × k, s has k
  /// values in falling order, vt is k × n.
  ///
  /// LAPACK's `sgesdd`.
  public static func singularValues(of a: [Float], rows m: Int, columns n: Int) -> (u: [Float], s: [Float], vt: [Float])
  {
    require(a.count == m * n && m > 0 && n > 0, "\(a.count) numbers for \(m) × \(n)")
    // LAPACK is column-major: what it sees of our rows is the transpose, whose factors trade places.
    let rows = Int32(n)
    let columns = Int32(m)
    let k = Int32(min(m, n))
    var matrix = a
    var s = [Float](repeating: 0, count: Int(k))
    var left = [Float](repeating: 0, count: n * Int(k))
    var right = [Float](repeating: 0, count: Int(k) * m)
    var integers = [Int32](repeating: 0, count: 8 * Int(k))
    var work: [Float] = [0]
    var size: Int32 = -1  // the first call asks for the workspace it needs
    var info: Int32 = 0
    for _ in 0..<2 {
      sgesdd_(
        "S", [rows], [columns], &matrix, [rows], &s, &left, [rows], &right, [k], &work, [size], &integers, &info)
      require(info == 0, "sgesdd failed with \(info) on a \(m) × \(n) matrix")
      if size > 0 { break }
      size = Int32(work[0])
      work = [Float](repeating: 0, count: Int(size))
    }
    return (u: right, s: s, vt: left)
  }
}
