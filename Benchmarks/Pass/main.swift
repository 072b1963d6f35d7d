import EaselKit
import Foundation

/// One pass of a checkpoint's network on given numbers, for Benchmarks/stable_diffusion: a diffusion model's prediction from
/// `latents` and `tokens`, or an autoencoder's images from `latents`.
///
///     BenchmarkPass CHECKPOINT INPUT OUTPUT PRECISION PASSES [--profile]
///
/// INPUT is a safetensors file of tensors `[N, …, C]`, and OUTPUT becomes one with the tensor `result`. Prints JSON: the
/// seconds that loading, the first pass and the median of the others took, and the process's peak memory.
let words = CommandLine.arguments
guard words.count >= 6, let precision = Precision(rawValue: words[4]), let passes = Int(words[5]), passes > 0 else {
  print("BenchmarkPass CHECKPOINT INPUT OUTPUT PRECISION PASSES [--profile]")
  exit(64)
}

/// The timestep of all passes, as in the script.
let timestep: Float = 500

try TensorThread.run {
  let base = try Backends.make()
  let profiling = words.contains("--profile") ? ProfilingBackend(base) : nil
  let backend: any Backend = profiling ?? base
  let input = try SafetensorsReader(path: words[2])
  func tensor(_ name: String) throws -> Tensor? {
    guard let entry = input.entries[name] else { return nil }
    return Tensor(try input.floats(name), shape: Shape(entry.shape), on: backend)
  }
  guard let latents = try tensor("latents") else { throw UserError(.badData, "\(words[2]): there are no latents") }
  let tokens = try tensor("tokens")

  let clock = ContinuousClock()
  let began = clock.now
  let checkpoint = try CheckpointFolder.open(words[1])
  if let damage = checkpoint.verify(full: true).first { throw damage }
  let model = try LoadedModel(checkpoint, backend: backend, precision: precision).model
  let load = (clock.now - began) / .seconds(1)

  let pass: () -> Tensor
  switch model {
  case let model as any DenoisingModel:
    pass = { model.denoiser.output(latents, timestep: timestep, tokens: tokens) }
  case let model as AutoencoderKL:
    // Its images are those of latents divided by the scale, 0 to 1; diffusers' are of the latents as they are, −1 to 1.
    pass = { backend.affine(model.images(ofLatents: model.scalingFactor * latents), scale: 2, shift: -1) }
  default: throw UserError(.usage, "\(words[1]): expected a diffusion model or an autoencoder")
  }
  var result: Tensor?
  let seconds = (0...passes).map { number in
    profiling?.isRecording = number > 0
    return clock.measure { result = pass() } / .seconds(1)
  }
  profiling?.isRecording = false
  if let result {
    try SafetensorsWriter.write(
      [.init(name: "result", shape: result.shape.sizes, floats: result.values())], metadata: [:], to: words[3])
  }

  for (key, record) in profiling?.records.sorted(by: { $0.value.total > $1.value.total }) ?? [] {
    let rate = Double(record.flops * record.seconds.count) / record.total / 1e9
    print(
      String(
        format: "%8.1f ms %7.0f GFLOP/s ×%-3d", 1000 * record.total / Double(passes), rate,
        record.seconds.count / passes),
      key.operation, key.shape)
  }
  var usage = rusage()
  getrusage(__rusage_who_t(RUSAGE_SELF.rawValue), &usage)
  let figures: [String: Double] = [
    "load": load, "first": seconds[0], "seconds": seconds.dropFirst().sorted()[passes / 2],
    "peak_rss_mb": Double(usage.ru_maxrss >> 10), "heap_mb": Double(backend.memory.peakBytes >> 20),
    "derived_mb": Double((backend.memory.bytesReserved - backend.memory.peakBytes) >> 20),
  ]
  print(String(decoding: try JSONEncoder().encode(figures), as: UTF8.self))
}

extension OperationRecord {
  var total: Double { seconds.reduce(0, +) }
}
