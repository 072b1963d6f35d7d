import EaselRunStorage
import EaselTestSupport
import Foundation
import Testing

/// Each test runs in a separate process, since signals belong to the whole process.
@Suite struct StopSignalTests {
  @Test(.endsAtAll) func theFirstSignalSetsTheFlag() async {
    await #expect(processExitsWith: .success) {
      install()
      precondition(StopSignal.received == nil && StopSignal.exitCode == nil)
      StopSignal.deferred { _ = raise(SIGTERM) }
      exit(StopSignal.received == SIGTERM && StopSignal.exitCode == 143 ? EXIT_SUCCESS : EXIT_FAILURE)
    }
  }

  @Test(.endsAtAll) func aClosedTerminalAsksToStopUnlessItIsIgnored() async {
    await #expect(processExitsWith: .success) {
      install()
      StopSignal.deferred { _ = raise(SIGHUP) }
      exit(StopSignal.received == SIGHUP && StopSignal.exitCode == 129 ? EXIT_SUCCESS : EXIT_FAILURE)
    }
    // As nohup does.
    await #expect(processExitsWith: .success) {
      signal(SIGHUP, SIG_IGN)
      install()
      raise(SIGHUP)
      exit(StopSignal.received == nil ? EXIT_SUCCESS : EXIT_FAILURE)
    }
  }

  @Test(.endsAtAll) func theSecondSignalLeavesAtOnce() async {
    await #expect(processExitsWith: .exitCode(130)) {
      install()
      StopSignal.deferred { _ = (raise(SIGTERM), raise(SIGINT)) }
      exit(0)
    }
    await #expect(processExitsWith: .exitCode(143)) {
      install()
      StopSignal.deferred { _ = (raise(SIGINT), raise(SIGTERM)) }
      exit(0)
    }
  }

  @Test(.endsAtAll) func whereNothingIsToBeSavedTheFirstOneEnds() async {
    await #expect(processExitsWith: .exitCode(143)) {
      install()
      StopSignal.deferred {}
      raise(SIGTERM)
      exit(0)
    }
  }

  @Test(.endsAtAll) func aClosedPipeIsAnError() async {
    await #expect(processExitsWith: .success) {
      install()
      var ends: [Int32] = [0, 0]
      pipe(&ends)
      close(ends[0])
      exit(write(ends[1], "x", 1) == -1 && errno == EPIPE ? EXIT_SUCCESS : EXIT_FAILURE)
    }
  }
}

private func install() {
  StopSignal.install()
  // The pool's threads, on which tests run, block all signals; the main thread of a program does not.
  var all = sigset_t()
  sigfillset(&all)
  pthread_sigmask(SIG_UNBLOCK, &all, nil)
}
