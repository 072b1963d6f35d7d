import CEaselKernels
import EaselSupport
import Foundation
import Synchronization

/// How the Easel processes of a machine share its processors: each says in a file that all of them read that it computes, and
/// takes its fair share of threads, so that two trainings do not put each other aside.
///
/// What a process says holds for a moment and is renewed while it computes. One that waits, was stopped, or died has said
/// nothing by then, and its processors are the others'.
package final class ProcessorShares: Sendable {
  /// Those of this machine; those of one container where `/dev/shm` is its own.
  static let ofThisMachine = ProcessorShares(
    path: "/dev/shm/easel-processors", processors: Processor.available)

  /// What a process says: 32 bytes of the file.
  private struct Entry {
    /// Of the process; anything but 0.
    var owner: UInt64 = 0
    /// By the machine's clock, in nanoseconds.
    var renewed: Int64 = 0
    /// Threads that a person has asked for; 0 for as many as are fair.
    var threads: Int64 = 0
    /// Which processors it may run on. Others have nothing to share with it.
    var processors: UInt64 = 0

    /// Whether it still holds. One from the future is of before the machine was started anew.
    func holds(at time: Int64) -> Bool {
      owner != 0 && renewed >= 0 && renewed <= time && time - renewed < ProcessorShares.validity && threads >= 0
    }
  }

  private static let validity: Int64 = 300_000_000
  private static let renewal: Int64 = 50_000_000
  /// Processes beyond these take no part.
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

  /// - Parameter affinity: a number that stands for the processors that this process may run on; nil for those it may.
  package init(path: String, processors: Int, affinity: UInt64? = nil) {
    self.path = path
    self.processors = processors
    self.affinity = affinity ?? easel_affinity()
  }

  deinit { state.withLock { if let file = $0.file, file >= 0 { close(file) } } }

  /// The threads that this process may use now, at least 1. Costs a look at the clock, and every 50 ms one at the file.
  ///
  /// - Parameters:
  ///   - wanted: how many it could use.
  ///   - isFixed: whether a person has asked for that number. Then it is used whatever the others do.
  func threads(wanted: Int, isFixed: Bool) -> Int {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return threads(wanted: wanted, isFixed: isFixed, at: Int64(time.tv_sec) * 1_000_000_000 + Int64(time.tv_nsec))
  }

  /// The same at a time of the machine's clock, in nanoseconds.
  package func threads(wanted: Int, isFixed: Bool, at now: Int64) -> Int {
    let due = next.load(ordering: .relaxed)
    // One of the threads that come at the same time renews.
    if now >= due, next.compareExchange(expected: due, desired: now + Self.renewal, ordering: .relaxed).exchanged {
      share.store(renew(at: now, threads: isFixed ? wanted : 0), ordering: .relaxed)
    }
    if isFixed { return wanted }
    let share = share.load(ordering: .relaxed)
    return share == 0 ? wanted : min(wanted, share)
  }

  /// - Returns: the fair share of a process that wants as many threads as it can have; 0 where nothing can be agreed on.
  private func renew(at now: Int64, threads: Int) -> Int {
    state.withLock { state in
      if state.file == nil { state.file = ProcessorShares.open(path) }
      guard let file = state.file, file >= 0 else { return 0 }
      var entries = [Entry](repeating: Entry(), count: Self.places)
      _ = entries.withUnsafeMutableBytes { pread(file, $0.baseAddress, $0.count, 0) }
      // Two processes may have taken the same place at the same moment: the one that wrote last has it.
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

  /// The file, made where there is none; −1 where that cannot be. Anybody may write to it: all that one can do there is to
  /// leave others fewer threads.
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
