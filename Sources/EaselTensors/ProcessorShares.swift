import CEaselKernels
import EaselSupport
import Foundation
import Synchronization

/// Lets a machine's Easel processes share its processors. Each process records in a common file that it is computing,
/// and takes its fair share of threads, so that two trainings do not keep suspending each other.
///
/// An entry is valid for a moment and is renewed while the process computes. The entry of a process that waits, is
/// stopped or has died has expired by then, and its processors belong to the others.
package final class ProcessorShares: Sendable {
  /// The shares of this machine; those of one container if it has its own `/dev/shm`.
  static let ofThisMachine = ProcessorShares(
    path: "/dev/shm/easel-processors", processors: Processor.available)

  /// A process's entry: 32 bytes of the file.
  private struct Entry {
    /// Identifies the process; never 0.
    var owner: UInt64 = 0
    /// The time of the last renewal by the machine's clock, in nanoseconds.
    var renewed: Int64 = 0
    /// The number of threads that a person has asked for; 0 for a fair share.
    var threads: Int64 = 0
    /// The processors that the process may run on. Processes with others have nothing to share with it.
    var processors: UInt64 = 0

    /// Whether the entry is still valid. One from the future dates from before the machine's last start.
    func holds(at time: Int64) -> Bool {
      owner != 0 && renewed >= 0 && renewed <= time && time - renewed < ProcessorShares.validity && threads >= 0
    }
  }

  private static let validity: Int64 = 300_000_000
  private static let renewal: Int64 = 50_000_000
  /// Further processes take no part.
  private static let places = 128

  private struct State {
    var file: Int32?
    var place: Int?
    var threads = 0
    var share = 0
  }

  private let path: String
  private let processors: Int
  private let owner = UInt64.random(in: 1...UInt64.max)
  private let affinity: UInt64
  private let next = Atomic<Int64>(0)
  private let share = Atomic<Int>(0)
  private let state = Mutex(State())

  /// - Parameter affinity: a number that stands for the processors that this process may run on; nil to determine it.
  package init(path: String, processors: Int, affinity: UInt64? = nil) {
    self.path = path
    self.processors = processors
    self.affinity = affinity ?? easel_affinity()
  }

  deinit { state.withLock { if let file = $0.file, file >= 0 { close(file) } } }

  /// The number of threads that this process may use now, at least 1. Each call reads the clock; every 50 ms one reads
  /// the file.
  ///
  /// - Parameters:
  ///   - wanted: how many threads it could use.
  ///   - isFixed: whether a person has asked for that number. Then it is used whatever other processes do.
  func threads(wanted: Int, isFixed: Bool) -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return threads(wanted: wanted, isFixed: isFixed, at: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  /// The same for a given time of the machine's clock, in nanoseconds.
  package func threads(wanted: Int, isFixed: Bool, at now: Int64) -> Int {
    let due = next.load(ordering: .relaxed)
    // If several threads arrive at the same time, one of them renews.
    if now >= due, next.compareExchange(expected: due, desired: now + Self.renewal, ordering: .relaxed).exchanged {
      share.store(renew(at: now, threads: isFixed ? wanted : 0), ordering: .relaxed)
    }
    if isFixed { return wanted }
    let share = share.load(ordering: .relaxed)
    return share == 0 ? wanted : min(wanted, share)
  }

  /// - Returns: the fair share of a process that wants as many threads as possible; 0 if no agreement is possible.
  private func renew(at now: Int64, threads: Int) -> Int {
    state.withLock { state in
      if state.file == nil { state.file = ProcessorShares.open(path) }
      guard let file = state.file, file >= 0 else { return 0 }
      var entries = [Entry](repeating: Entry(), count: Self.places)
      _ = entries.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, 0) }
      // Two processes may have taken the same slot at the same moment; it belongs to the last writer.
      if let place = state.place, entries[place].owner != owner { state.place = nil }
      guard let place = state.place ?? entries.firstIndex(where: { !$0.holds(at: now) }) else { return 0 }
      state.place = place
      entries[place] = Entry(owner: owner, renewed: now, threads: Int64(threads), processors: affinity)
      let size = MemoryLayout<Entry>.stride
      _ = withUnsafeBytes(of: entries[place]) { pwrite(file, $0.baseAddress, size, off_t(place * size)) }

      let holders = entries.indices.filter { entries[$0].holds(at: now) && entries[$0].processors == affinity }
      let fixed = holders.reduce(0) { $0 + Int(min(entries[$1].threads, 1 << 20)) }
      let sharing = holders.filter { entries[$0].threads == 0 }
      guard let rank = sharing.firstIndex(of: place) else { return processors }
      let left = max(0, processors - fixed)
      return max(1, left / sharing.count + (rank < left % sharing.count ? 1 : 0))
    }
  }

  /// The file, created if it does not exist; −1 if that fails. Anybody may write to it; the worst they can do is leave
  /// others fewer threads.
  private static func open(_ path: String) -> Int32 {
    let flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW
    for _ in 0..<2 {
      let file = Glibc.open(path, flags)
      if file >= 0 || errno != ENOENT { return file }
      let made = Glibc.open(path, flags | O_CREAT | O_EXCL, 0o666)
      if made >= 0 {
        fchmod(made, 0o666)
        return made
      }
    }
    return -1
  }
}
