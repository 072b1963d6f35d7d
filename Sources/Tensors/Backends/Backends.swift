#if EASEL_HAS_ONEDNN
  import COneDNN
#endif

/// What the computing libraries of this build and machine offer.
public enum Backends {
  /// The backends in this build, best first.
  public static var available: [BackendKind] { hasOneDNN ? [.onednn, .openblas] : [.openblas] }

  /// Makes a backend.
  ///
  /// - Parameters:
  ///   - kind: nil means the best there is.
  ///   - threads: nil means one for each processor.
  ///   - winograd: whether convolutions may be Winograd's; without, their sums are the plain ones.
  /// - Throws: `UserError` (unavailable) when this build does not have it.
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
          hint: "Install it with: apt-get install libdnnl-dev, then build again; or use --backend openblas.")
      #endif
    }
  }

  #if EASEL_HAS_ONEDNN
    public static let hasOneDNN = true

    /// oneDNN's version, and the instruction set it uses here.
    public static var oneDNN: (version: String, instructionSet: String)? {
      var version = [Int32](repeating: 0, count: 3)
      easel_dnn_version(&version)
      return (version.map(String.init).joined(separator: "."), String(cString: easel_dnn_isa()))
    }

    /// Whether bfloat16 works at all, and whether the processor has instructions that make it faster than float32.
    public static var bfloat16: (isSupported: Bool, isFast: Bool) {
      (easel_dnn_supports_bfloat16(), easel_dnn_has_bfloat16())
    }
  #else
    public static let hasOneDNN = false
    public static var oneDNN: (version: String, instructionSet: String)? { nil }
    public static var bfloat16: (isSupported: Bool, isFast: Bool) { (false, false) }
  #endif
}

/// The type of activations that a run asks for.
public enum Precision: String, Sendable, CaseIterable, Codable {
  /// bfloat16 where the processor multiplies it natively, float32 elsewhere.
  case auto
  case float32
  case bfloat16

  /// The type on a backend.
  ///
  /// - Throws: `UserError` (unavailable) for bfloat16 where the backend or processor cannot.
  public func scalarType(on backend: any Backend) throws -> ScalarType {
    switch self {
    case .float32: return .float32
    case .auto: return backend.kind == .onednn && Backends.bfloat16.isFast ? .bfloat16 : .float32
    case .bfloat16:
      guard backend.kind == .onednn else {
        throw UserError(
          .unavailable, "the \(backend.kind.rawValue) backend computes in float32 only",
          hint: "Use --precision float32, or --backend onednn.")
      }
      guard Backends.bfloat16.isSupported else {
        throw UserError(
          .unavailable, "oneDNN has no bfloat16 kernels for this processor (it needs AVX-512)",
          hint: "Use --precision float32.")
      }
      return .bfloat16
    }
  }
}
