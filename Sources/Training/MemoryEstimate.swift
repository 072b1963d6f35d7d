import Foundation

/// What a training takes of the machine's memory: found by steps of a few images on heaps of their own.
struct MemoryEstimate {
  /// Bytes whatever the batch: parameters, gradients, moments, average.
  let fixed: Int
  let perImage: Int
  /// What completing an average takes, which may look at more images than a step does.
  let settling: Int

  /// - Throws: `UserError` where the settings and the data do not go together.
  init(
    _ preset: AnyPreset, _ configuration: ConfigurationDocument, data: DataDescription, like backend: any Backend
  ) throws {
    func peaks(_ images: Int) throws -> (step: Int, settling: Int) {
      let scratch = try Backends.make(backend.kind, threads: backend.threads.count)
      var few = configuration
      try few.set("batch-size", to: String(images), origin: "estimate")
      try few.set("accumulate", to: "1", origin: "estimate")
      var training = try BenchmarkTraining(preset, configuration: few, data: data, backend: scratch)
      training.step()
      let step = scratch.memory.peakBytes
      training.model.settleAverage()
      return (step, scratch.memory.peakBytes)
    }
    let (few, more) = (2, 6)
    let (least, most) = (try peaks(few), try peaks(more))
    perImage = max(1, (most.step - least.step) / (more - few))
    fixed = max(0, least.step - few * perImage)
    settling = least.settling
  }

  func bytes(images: Int) -> Int { max(settling, fixed + images * perImage) }

  /// The most images at once that fit, 0 if not even one does.
  func images(fitting bytes: Int) -> Int { bytes < settling ? 0 : max(0, (bytes - fixed) / perImage) }
}

/// The machine's memory.
enum Memory {
  /// Bytes that the machine, and the control groups that confine the process, can still give.
  static var available: Int {
    ([machine] + groups).compactMap { $0 }.min() ?? .max
  }

  private static var machine: Int? {
    fields("/proc/meminfo")["MemAvailable:"].map { $0 << 10 }
  }

  /// What each of the process's control groups has left: version 2, and version 1 at its usual place.
  private static var groups: [Int?] {
    let root = "/sys/fs/cgroup"
    var left = [
      room(
        limit: "\(root)/memory/memory.limit_in_bytes", used: "\(root)/memory/memory.usage_in_bytes",
        statistics: "\(root)/memory/memory.stat")
    ]
    let own = (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8))?.split(separator: "\n")
      .first { $0.hasPrefix("0::") }?.dropFirst(3)
    var path = own.map(String.init) ?? "/"
    while true {
      let folder = root + (path == "/" ? "" : path)
      left.append(
        room(limit: "\(folder)/memory.max", used: "\(folder)/memory.current", statistics: "\(folder)/memory.stat"))
      if path == "/" || path.isEmpty { return left }
      path = (path as NSString).deletingLastPathComponent
    }
  }

  private static func room(limit: String, used: String, statistics: String) -> Int? {
    func number(_ path: String) -> Int? {
      (try? String(contentsOfFile: path, encoding: .utf8)).flatMap {
        Int($0.trimmingCharacters(in: .whitespacesAndNewlines))
      }
    }
    guard let limit = number(limit), let used = number(used) else { return nil }
    // Files that were read and can be read again make room when it is needed.
    return max(0, limit - used + (fields(statistics)["inactive_file"] ?? 0))
  }

  /// The first number of each line, by the line's first word.
  private static func fields(_ path: String) -> [String: Int] {
    let lines = (try? String(contentsOfFile: path, encoding: .utf8))?.split(separator: "\n") ?? []
    return Dictionary(
      lines.compactMap { line in
        let words = line.split(separator: " ", omittingEmptySubsequences: true)
        return words.count > 1 ? Int(words[1]).map { (String(words[0]), $0) } : nil
      }, uniquingKeysWith: { first, _ in first })
  }
}

extension Trainer {
  /// Makes sure that a training fits into memory, before it takes any.
  ///
  /// What obviously fits is not looked at closely: the estimate takes a moment.
  ///
  /// - Parameter available: bytes; nil for what the machine has left.
  /// - Throws: `UserError(.unavailable)` with the estimate and the batch that would fit.
  public func checkMemory(available: Int? = nil) throws {
    let available = available ?? Memory.available
    let images = (settings.batchSize + settings.accumulate - 1) / settings.accumulate
    let description = state.data.description
    let parameters = model.components.reduce(0) { $0 + $1.arena.count }
    // More than any of the presets takes for a pixel, by its parameters.
    let (most, overflow) = (images * description.width * description.height).multipliedReportingOverflow(
      by: (64 << 10) * (1 + parameters / 4_000_000))
    if !overflow, most < available - 32 * parameters { return }
    let estimate = try MemoryEstimate(
      .named(state.preset), configuration, data: description, like: model.context.backend)
    let needed = estimate.bytes(images: images)
    if needed <= available { return }
    let fitting = estimate.images(fitting: available)
    func text(_ bytes: Int) -> String {
      bytes < 1_000_000_000 ? "\(bytes / 1_000_000) MB" : String(format: "%.1f GB", Double(bytes) / 1e9)
    }
    let parts = fitting > 0 ? (settings.batchSize + fitting - 1) / fitting : 0
    throw UserError(
      .unavailable,
      "training on \(images) images at once needs about \(text(needed)) of memory, \(text(available)) are available",
      hint: fitting > 0
        ? "\(fitting) fit: --batch-size \(fitting), or --set accumulate=\(parts) for the same step in parts."
        : "Not even one image fits: make the images or the network smaller.")
  }
}
