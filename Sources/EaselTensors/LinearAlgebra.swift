import CEaselOpenBLAS

/// Factorisations by LAPACK, on host arrays in row-major order.
public enum LinearAlgebra {
  /// The thin singular value decomposition `a = u · diag(s) · vt` of an m × n matrix, with k = min(m, n): u is m × k, s
  /// has k values in descending order, vt is k × n.
  ///
  /// LAPACK's `sgesdd`.
  public static func singularValues(of a: [Float], rows m: Int, columns n: Int) -> (u: [Float], s: [Float], vt: [Float])
  {
    require(a.count == m * n && m > 0 && n > 0, "\(a.count) numbers for \(m) × \(n)")
    _ = oneThread
    // LAPACK is column-major, so it sees the transpose of our rows, in which the factors trade places.
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

  /// Eigenvalues of a symmetric n × n matrix in ascending order.
  ///
  /// LAPACK's `dsyevd`.
  public static func eigenvalues(ofSymmetric a: [Double], size n: Int) -> [Double] {
    symmetricEigen(a, n, vectors: false).values
  }

  /// Eigenvalues of a symmetric n × n matrix in ascending order, and their eigenvectors of length 1, one per row of
  /// `vectors`.
  ///
  /// LAPACK's `dsyevd`.
  public static func eigenvectors(ofSymmetric a: [Double], size n: Int) -> (values: [Double], vectors: [Double]) {
    symmetricEigen(a, n, vectors: true)
  }

  private static func symmetricEigen(_ a: [Double], _ n: Int, vectors: Bool) -> (values: [Double], vectors: [Double]) {
    require(a.count == n * n && n > 0, "\(a.count) numbers for \(n) × \(n)")
    _ = oneThread
    var matrix = a
    var values = [Double](repeating: 0, count: n)
    var work: [Double] = [0]
    var integers: [Int32] = [0]
    var (size, integerSize) = (Int32(-1), Int32(-1))  // the first call asks for the workspace it needs
    var info: Int32 = 0
    for _ in 0..<2 {
      // A symmetric matrix is its own transpose, and LAPACK's columns of eigenvectors are our rows.
      dsyevd_(
        vectors ? "V" : "N", "U", [Int32(n)], &matrix, [Int32(n)], &values, &work, [size], &integers, [integerSize],
        &info)
      require(info == 0, "dsyevd failed with \(info) on a \(n) × \(n) matrix")
      if size > 0 { break }
      (size, integerSize) = (Int32(work[0]), integers[0])
      work = [Double](repeating: 0, count: Int(size))
      integers = [Int32](repeating: 0, count: Int(integerSize))
    }
    return (values, matrix)
  }

  /// `a · b` of an m × k and a k × n matrix.
  public static func product(_ a: [Double], _ b: [Double], rows m: Int, inner k: Int, columns n: Int) -> [Double] {
    require(a.count == m * k && b.count == k * n, "\(a.count) and \(b.count) numbers for \(m) × \(k) × \(n)")
    _ = oneThread
    var c = [Double](repeating: 0, count: m * n)
    cblas_dgemm(
      CblasRowMajor, CblasNoTrans, CblasNoTrans, Int32(m), Int32(n), Int32(k), 1, a, Int32(k), b, Int32(n), 0, &c,
      Int32(n))
    return c
  }

  /// `aᵀ · a` of an m × n matrix, n × n.
  public static func gram(of a: [Double], rows m: Int, columns n: Int) -> [Double] {
    require(a.count == m * n, "\(a.count) numbers for \(m) × \(n)")
    _ = oneThread
    var c = [Double](repeating: 0, count: n * n)
    cblas_dsyrk(CblasRowMajor, CblasUpper, CblasTrans, Int32(n), Int32(m), 1, a, Int32(n), 0, &c, Int32(n))
    for row in 0..<n {
      for column in 0..<row { c[row * n + column] = c[column * n + row] }
    }
    return c
  }

  /// OpenBLAS' own threads would compete with ours for the processors.
  private static let oneThread: Void = openblas_set_num_threads(1)
}
