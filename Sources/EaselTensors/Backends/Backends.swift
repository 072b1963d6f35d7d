import EaselSupport

#if EASEL_HAS_ONEDNN
  import CEaselOneDNN
#endif

/// What this build's computing libraries offer on this machine.
public enum Backends {
  /// The backends in this build, best first.
  public static var available: [BackendKind] { hasOneDNN ? [.onednn, .openblas] : [.openblas] }

  /// Makes a backend.
  ///
  /// - Parameters:
  ///   - kind: the backend; nil means the best available.
  ///   - threads: the number of threads; nil means one for each processor.
  ///   - winograd: whether convolutions may use Winograd's method; otherwise they are plain sums.
  /// - Throws: `UserError` (unavailable) if this build does not have the backend.
  public static func make(_ kind: BackendKind? = nil, threads: Int? = nil, winograd: Bool = true) throws -> any Backend
  {
    switch kind ?? available[0] {
    case .openblas: return OpenBLASBackend(threads: ThreadPool(count: threads), winograd: winograd)
    case .onednn:
      #if EASEL_HAS_ONEDNN
        return try OneDNNBackend(threads: ThreadPool(count: threads), winograd: winograd)
      #else
        throw UserError(
          .unavailable, "this build of Easel has no oneDNN backend",
          hint: "Install it with: apt-get install libdnnl-dev, then build again; or use \(field: "backend") openblas.")
      #endif
    }
  }

  #if EASEL_HAS_ONEDNN
    public static let hasOneDNN = true

    /// oneDNN's version, and the instruction set that it uses here.
    public static var oneDNN: (version: String, instructionSet: String)? {
      var version = [Int32](repeating: 0, count: 3)
      easel_dnn_version(&version)
      return (version.map(String.init).joined(separator: "."), String(cString: easel_dnn_isa()))
    }

    /// How this processor multiplies bfloat16 numbers.
    public static let bfloat16 = BFloat16Products(
      isSupported: easel_dnn_supports_bfloat16(), hasInstructions: easel_dnn_has_bfloat16(),
      hasMatrices: easel_dnn_has_bfloat16_matrices(), isAMD: Processor.isAMD)
  #else
    public static let hasOneDNN = false
    public static var oneDNN: (version: String, instructionSet: String)? { nil }
    public static let bfloat16 = BFloat16Products.none
  #endif
}
