import EaselKit
import Foundation

extension BenchRequest.Answer {
  func print(_ desk: Desk) throws {
    switch self {
    case .preset(let result):
      desk.json ? try Console.print(json: result) : Console.print(text: result.text)
    case .profile(let profile):
      desk.json ? try Console.print(json: profile) : Console.print(text: profile.text)
    case .operations(let report):
      desk.json ? try Console.print(json: report) : report.print()
    }
  }
}

extension BenchmarkResult {
  fileprivate var text: String {
    """
    \(model)  \(mode)  \(image)  batch \(batch)  threads \(threads)  \(parameters) parameters
    training  \(trainImagesPerSecond) images/s
    sampling  \(sampleImagesPerSecond) images/s a pass
    memory    \(peakRSSMegabytes) MB at most; \(systemAllocations) blocks from the system while timed
    """
  }
}

extension BenchRequest.OperationReport {
  fileprivate func print() {
    Console.print(text: ceilings.text)
    Console.print(
      text: Console.table(
        ["operation", "shape", "type", "ms", "GFLOP/s", "GB/s", "of ceiling"],
        operations.map {
          [
            $0.operation, $0.shape, $0.type, $0.milliseconds.formatted(3), $0.gigaflopsPerSecond.formatted(0),
            $0.gigabytesPerSecond.formatted(1), $0.shareOfCeiling.percent,
          ]
        }, rightAlignedFrom: 3))
  }
}

extension Ceilings {
  fileprivate var text: String {
    let matrices = bfloat16.map { "; bfloat16 matrix product \(($0 / 1e9).formatted(0))" } ?? ""
    return """
      ceilings: float32 multiply-add \((float32 / 1e9).formatted(0)) GFLOP/s\(matrices); copy \((copy / 1e9).formatted(1)) GB/s \
      read and written
      """
  }
}

extension Profile {
  fileprivate var text: String {
    let products = ["convolution", "linear", "matmul", "attention"]
    let heavy = rows.filter { row in products.contains { row.operation.hasPrefix($0) } }
    let heavyTime = heavy.reduce(0) { $0 + $1.milliseconds }
    let leastTime = heavy.reduce(0) { $0 + $1.milliseconds * $1.shareOfCeiling }
    let totals = Dictionary(grouping: rows, by: \.operation)
      .map {
        (
          operation: $0, milliseconds: $1.reduce(0) { $0 + $1.milliseconds },
          calls: $1.reduce(0) { $0 + $1.callsPerStep }
        )
      }
      .sorted { $0.milliseconds > $1.milliseconds }
    func fraction(_ milliseconds: Double) -> String { (milliseconds / step).percent }
    return """
      \(model)  \(mode)  \(image)  batch \(batch)  threads \(threads)
      \(ceilings.text)
      step \(step.formatted(1)) ms: \(fraction(heavyTime)) convolutions and matrix products \
      (\((leastTime / max(heavyTime, .leastNormalMagnitude)).percent) of the ceilings), \
      \(fraction(step - heavyTime - between)) other operations, \(fraction(between)) between operations

      \(Console.table(
        ["operation", "calls", "ms a step", "of step"],
        totals.map { [$0.operation, $0.calls.formatted(0), $0.milliseconds.formatted(2), fraction($0.milliseconds)] },
        rightAlignedFrom: 1))

      \(Console.table(
        ["operation", "layer", "shape", "calls", "ms a step", "GFLOP", "MB", "GFLOP/s", "GB/s", "of ceiling", "of alone"],
        rows.map {
          [
            $0.operation, $0.layer, $0.shape, $0.callsPerStep.formatted(0), $0.milliseconds.formatted(2),
            $0.gigaflops.formatted(2), $0.megabytes.formatted(1), $0.gigaflopsPerSecond.formatted(0), $0.gigabytesPerSecond.formatted(1), $0.shareOfCeiling.percent,
            $0.shareOfAlone?.percent ?? "",
          ]
        }, rightAlignedFrom: 3))
      """
  }
}

extension Double {
  fileprivate var percent: String { "\((100 * self).formatted(0)) %" }
}
