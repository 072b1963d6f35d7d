import EaselSupport
import Foundation

/// Reports what Easel found on this machine, and what is missing.
public struct DoctorRequest: Request {
  public static let name = "doctor"
  public static let summary = "Show what Easel found on this machine, and what is missing."

  public init() {}
  public static let fields: [Field<DoctorRequest>] = []

  public struct Answer: Encodable {
    public var easel, processor, instructionSet: String
    public var threads: Int
    public var oneDNN: String?
    public var bfloat16: String
    /// What precision auto means here.
    public var precision: String
    public var jpeg, webp, gif: Bool
    public var memoryBytes: UInt64
    public var workspace: String
    public var dataFolders, datasets, checkpointFolders, runs: [String]
    public var problems: [String]
  }

  public func answer(_ work: Work) throws -> Answer {
    let workspace = work.workspace
    func folders(_ name: String) -> [String] {
      workspace.roots.map { "\($0)/\(name)" }.filter { FileManager.default.fileExists(atPath: $0) }
    }
    var problems: [String] = []
    if !Backends.hasOneDNN {
      problems.append(
        "oneDNN is not in this build; training is several times slower. apt-get install libdnnl-dev, then build again.")
    }
    for (isThere, library, format, package) in [
      (Image.readsJPEG, "libjpeg", "JPEG", "libjpeg-dev"), (Image.readsWebP, "libwebp", "WebP", "libwebp-dev"),
      (Image.readsGIF, "giflib", "GIF", "libgif-dev"),
    ] where !isThere {
      problems.append(
        "\(library) is not in this build; \(format) files cannot be read. apt-get install \(package), then build again."
      )
    }
    if workspace.datasets.names.isEmpty {
      problems.append("No data set was found. Run easel in its source folder, or: easel data import fashion-mnist")
    }
    if let name = InstructionSet.ignoredName {
      let known = InstructionSet.available.map(\.rawValue).joined(separator: ", ")
      problems.append("EASEL_ISA is ignored: expected one of \(known) on this processor, found \(name.printable).")
    }
    return Answer(
      easel: easelVersion, processor: Processor.name, instructionSet: InstructionSet.preferred.rawValue,
      threads: Processor.available, oneDNN: Backends.oneDNN.map { "\($0.version), \($0.instructionSet)" },
      bfloat16: Backends.bfloat16.rawValue, precision: try precision(), jpeg: Image.readsJPEG, webp: Image.readsWebP,
      gif: Image.readsGIF, memoryBytes: ProcessInfo.processInfo.physicalMemory, workspace: workspace.path,
      dataFolders: folders("Data"), datasets: workspace.datasets.names, checkpointFolders: folders("Checkpoints"),
      runs: try workspace.checkpoints.runs().map(\.name), problems: problems)
  }

  private func precision() throws -> String {
    let backend = try Backends.make()
    func type(_ convolves3x3: Bool) -> String {
      Precision.choice(on: backend, convolves3x3: convolves3x3).type.rawValue
    }
    let families = modelFamilies.filter { $0.convolves3x3 }.map { $0.name }.joined(separator: ", ")
    return type(false) == type(true) ? type(false) : "\(type(false)), for \(families) \(type(true))"
  }
}
