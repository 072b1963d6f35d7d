import Glibc
import Synchronization

/// The request to stop by Ctrl-C (SIGINT), `kill` (SIGTERM) or a terminal that is closed (SIGHUP): it ends the process with 130,
/// 143 or 129. Work that has something to
/// save (``deferred(_:)``) is asked to stop by the first one, and ended by the second.
public enum StopSignal {
  // 0 while no signal has come. `install` touches it first, so that the handler never runs its initialiser.
  private static let pending = Atomic<Int32>(0)
  private static let isDeferred = Atomic<Bool>(false)

  /// Installs the handlers, and has writing to a closed pipe (SIGPIPE), or past the limit on a file's size
  /// (SIGXFSZ), fail with an error instead of a signal.
  public static func install() {
    pending.store(0, ordering: .relaxed)
    isDeferred.store(false, ordering: .relaxed)
    // Only what POSIX allows in a handler: a lock-free atomic and `_exit`.
    let handler: @convention(c) (Int32) -> Void = { signal in
      let (isFirst, _) = StopSignal.pending.compareExchange(expected: 0, desired: signal, ordering: .relaxed)
      if !isFirst || !StopSignal.isDeferred.load(ordering: .relaxed) { _exit(128 + signal) }
    }
    for signal in [SIGINT, SIGTERM] { setHandler(handler, for: signal) }
    // nohup has it ignored, which is meant.
    var present = sigaction()
    sigaction(SIGHUP, nil, &present)
    let isIgnored =
      unsafeBitCast(present.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    if !isIgnored { setHandler(handler, for: SIGHUP) }
    setHandler(SIG_IGN, for: SIGPIPE)
    setHandler(SIG_IGN, for: SIGXFSZ)
    // A parent may have blocked them (Foundation's Process does, from a thread that has), and the mask is inherited.
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Does work that looks at ``received`` and stops by itself, having saved what it has.
  public static func deferred<Result>(_ work: () throws -> Result) rethrows -> Result {
    isDeferred.store(true, ordering: .relaxed)
    defer { isDeferred.store(false, ordering: .relaxed) }
    return try work()
  }

  /// The signal that asked to stop (SIGINT, SIGTERM or SIGHUP), or nil. Costs one load.
  public static var received: Int32? {
    let signal = pending.load(ordering: .relaxed)
    return signal == 0 ? nil : signal
  }

  /// The exit code of a process that stopped because of the signal: 130, 143 or 129; nil where none came.
  public static var exitCode: Int32? { received.map { 128 + $0 } }

  private static func setHandler(_ handler: __sighandler_t?, for signal: Int32) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = handler
    // Reads and writes that a signal interrupts go on.
    action.sa_flags = SA_RESTART
    sigaction(signal, &action, nil)
  }
}
