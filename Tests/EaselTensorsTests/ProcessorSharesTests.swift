import EaselTensors
import EaselTestSupport
import Foundation
import Testing

/// Objects of one file stand for processes; the clock is the test's.
@Suite("How processes share processors") struct ProcessorSharesTests {
  private static let millisecond: Int64 = 1_000_000

  private static func inFile(_ body: (String) throws -> Void) throws {
    let path = FileManager.default.temporaryDirectory.appending(path: "processors-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try body(path)
  }

  @Test("Processes get equal parts, the remainder goes to the first, and none gets less than one")
  func fairness() throws {
    try Self.inFile { path in
      let processes = (0..<6).map { _ in ProcessorShares(path: path, processors: 5) }
      func round(_ count: Int, at time: Int64) -> [Int] {
        // The second time, each process sees all others.
        for process in processes.prefix(count) { _ = process.threads(wanted: 5, isFixed: false, at: time) }
        return processes.prefix(count).map {
          $0.threads(wanted: 5, isFixed: false, at: time + 60 * Self.millisecond)
        }
      }
      #expect(round(1, at: 0) == [5])
      #expect(round(2, at: 1_000 * Self.millisecond) == [3, 2])
      #expect(round(3, at: 2_000 * Self.millisecond) == [2, 2, 1])
      #expect(round(6, at: 3_000 * Self.millisecond) == [1, 1, 1, 1, 1, 1])
    }
  }

  @Test("A process that has stopped computing holds nothing after a moment, and can come back")
  func expiry() throws {
    try Self.inFile { path in
      let (a, b) = (ProcessorShares(path: path, processors: 4), ProcessorShares(path: path, processors: 4))
      _ = a.threads(wanted: 4, isFixed: false, at: 0)
      #expect(b.threads(wanted: 4, isFixed: false, at: 0) == 2)
      #expect(b.threads(wanted: 4, isFixed: false, at: 400 * Self.millisecond) == 4)
      #expect(a.threads(wanted: 4, isFixed: false, at: 500 * Self.millisecond) == 2)
      #expect(b.threads(wanted: 4, isFixed: false, at: 550 * Self.millisecond) == 2)
    }
  }

  @Test("A number that a person asked for is used, and subtracted from what the others share")
  func fixedNumbers() throws {
    try Self.inFile { path in
      let (byHand, other) = (ProcessorShares(path: path, processors: 8), ProcessorShares(path: path, processors: 8))
      #expect(byHand.threads(wanted: 3, isFixed: true, at: 0) == 3)
      #expect(other.threads(wanted: 8, isFixed: false, at: 0) == 5)
      #expect(byHand.threads(wanted: 64, isFixed: true, at: 100 * Self.millisecond) == 64)
      #expect(other.threads(wanted: 8, isFixed: false, at: 100 * Self.millisecond) == 1)
    }
  }

  @Test("Processes on other processors have nothing to share")
  func pinned() throws {
    try Self.inFile { path in
      let (a, b, c) = (
        ProcessorShares(path: path, processors: 4, affinity: 1),
        ProcessorShares(path: path, processors: 4, affinity: 2),
        ProcessorShares(path: path, processors: 4, affinity: 2)
      )
      for process in [a, b, c] { _ = process.threads(wanted: 4, isFixed: false, at: 0) }
      let shares = [a, b, c].map { $0.threads(wanted: 4, isFixed: false, at: 60 * Self.millisecond) }
      #expect(shares == [4, 2, 2])
    }
  }

  @Test("A process that wants fewer threads than its share gets that number")
  func fewerWanted() throws {
    try Self.inFile { path in
      #expect(ProcessorShares(path: path, processors: 8).threads(wanted: 2, isFixed: false, at: 0) == 2)
    }
  }

  @Test("A file of another kind, or none at all, changes nothing")
  func unusable() throws {
    try Self.inFile { path in
      // Every other number is negative, and each is large.
      try Data((0..<5000).map { UInt8(truncatingIfNeeded: $0 / 8 % 2 == 0 ? 0x80 : 0x7f) }).write(
        to: URL(filePath: path))
      #expect(ProcessorShares(path: path, processors: 4).threads(wanted: 4, isFixed: false, at: 1) >= 1)
    }
    for path in ["/nowhere/processors", "/proc/self/mem", "/dev/null"] {
      #expect(ProcessorShares(path: path, processors: 4).threads(wanted: 4, isFixed: false, at: 1) == 4)
    }
  }

  /// After a restart, a machine counts its time from 0 again.
  @Test("Entries with a time in the future hold nothing")
  func future() throws {
    try Self.inFile { path in
      _ = ProcessorShares(path: path, processors: 4).threads(wanted: 4, isFixed: false, at: 5_000 * Self.millisecond)
      #expect(ProcessorShares(path: path, processors: 4).threads(wanted: 4, isFixed: false, at: 0) == 4)
    }
  }
}
