import Glibc
import Synchronization

/// Requests to stop: Ctrl-C (SIGINT), `kill` (SIGTERM) or a closed terminal (SIGHUP). They end the process with 130,
/// 143 or 129. If the process is doing work that must be saved (``deferred(_:)``), the first signal asks it to stop,
/// and the second ends it.
public enum StopSignal {
  // 0 until a signal comes. `install` touches it first, so that the handler never runs its initialiser.
  private static let pending = Atomic<Int32>(0)
  private static let isDeferred = Atomic<Bool>(false)

  /// Installs the handlers. Also makes writing to a closed pipe (SIGPIPE), or past the limit on a file's size
  /// (SIGXFSZ), fail with an error instead of a signal.
  public static func install() {
    pending.store(0, ordering: .relaxed)
    isDeferred.store(false, ordering: .relaxed)
    // The handler does only what POSIX allows: a lock-free atomic and `_exit`.
    let handler: @convention(c) (Int32) -> Void = { signal in
      let (isFirst, _) = StopSignal.pending.compareExchange(expected: 0, desired: signal, ordering: .relaxed)
      if !isFirst || !StopSignal.isDeferred.load(ordering: .relaxed) { _exit(128 + signal) }
    }
    for signal in [SIGINT, SIGTERM] { setHandler(handler, for: signal) }
    // If nohup has made the process ignore SIGHUP, keep it ignored.
    var present = sigaction()
    sigaction(SIGHUP, nil, &present)
    let isIgnored =
      unsafeBitCast(present.__sigaction_handler.sa_handler, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
    if !isIgnored { setHandler(handler, for: SIGHUP) }
    setHandler(SIG_IGN, for: SIGPIPE)
    setHandler(SIG_IGN, for: SIGXFSZ)
    // A parent may have blocked these signals, and the mask is inherited. (Foundation's Process, started from a thread
    // that blocks them, does this.)
    var signals = sigset_t()
    sigemptyset(&signals)
    for signal in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, signal) }
    pthread_sigmask(SIG_UNBLOCK, &signals, nil)
  }

  /// Runs work that watches ``received``, saves what it has and stops by itself.
  public static func deferred<Result>(_ work: () throws -> Result) rethrows -> Result {
    isDeferred.store(true, ordering: .relaxed)
    defer { isDeferred.store(false, ordering: .relaxed) }
    return try work()
  }

  /// The signal that asked to stop (SIGINT, SIGTERM or SIGHUP), or nil. Reading it costs one load.
  public static var received: Int32? {
    let signal = pending.load(ordering: .relaxed)
    return signal == 0 ? nil : signal
  }

  /// The exit code of a process that stopped because of the signal: 130, 143 or 129; nil if none came.
  public static var exitCode: Int32? { received.map { 128 + $0 } }

  private static func setHandler(_ handler: __sighandler_t?, for signal: Int32) {
    var action = sigaction()
    action.__sigaction_handler.sa_handler = handler
    // Reads and writes resume after a signal has interrupted them.
    action.sa_flags = SA_RESTART
    sigaction(signal, &action, nil)
  }
}
