import EaselTraining
import Testing

/// The learning rate over a training, and its announcement before.
@Suite struct LearningRatePlanTests {
  private static func settings(_ change: (inout TrainingSettings) -> Void = { _ in }) -> TrainingSettings {
    TrainingSettings {
      ($0.learningRate, $0.learningRateDecay, $0.steps) = (0.01, .linear, 5000)
      change(&$0)
    }
  }

  @Test("It falls to 0 at the end of the training, however that is set")
  func followsTheLength() {
    for (limit, end) in [(TrainingLimit(steps: 200), 200), (TrainingLimit(), 5000)] {
      let plan = LearningRatePlan(Self.settings(), until: limit)
      #expect(near(plan.rate(at: 0), 0.01) && near(plan.rate(at: end / 2), 0.005) && plan.rate(at: end) == 0)
      #expect(plan.summary(from: 0) == "learning rate 0.01, falls to 0 at step \(end)")
      #expect(plan.warning(from: 0) == nil)
    }
    let longer = LearningRatePlan(Self.settings(), until: TrainingLimit(steps: 400))
    #expect(longer.summary(from: 200) == "learning rate 0.005, falls to 0 at step 400")
  }

  @Test("With a limit of minutes it falls with the time, and the steps do not count")
  func followsTime() {
    let plan = LearningRatePlan(Self.settings(), until: TrainingLimit(seconds: 60))
    #expect(near(plan.rate(at: 0, fraction: 0), 0.01) && near(plan.rate(at: 9, fraction: 0.75), 0.0025))
    #expect(plan.rate(at: 9, fraction: 1) == 0 && plan.rate(at: 9, fraction: 2) == 0)
    #expect(plan.summary(from: 0) == "learning rate 0.01, falls to 0 as the time runs out")
  }

  @Test("Progress follows what the learning rate follows")
  func progress() {
    let steps = LearningRatePlan(Self.settings(), until: TrainingLimit(steps: 200))
    #expect(steps.progress(at: 0) == 0 && steps.progress(at: 50, fraction: 0.9) == 0.25 && steps.progress(at: 300) == 1)
    let time = LearningRatePlan(Self.settings(), until: TrainingLimit(seconds: 60))
    #expect(time.progress(at: 4000, fraction: 0.25) == 0.25 && time.progress(at: 1, fraction: 1.5) == 1)
    let exact = LearningRatePlan(Self.settings { $0.scheduleSteps = 400 }, until: TrainingLimit(seconds: 60))
    #expect(exact.progress(at: 100, fraction: 0.9) == 0.25)
  }

  @Test("A short training warms up for a tenth of its length at most, and says so")
  func warmup() {
    let settings = Self.settings { $0.warmupSteps = 200 }
    let short = LearningRatePlan(settings, until: TrainingLimit(steps: 100))
    #expect(near(short.rate(at: 0), 0.001) && near(short.rate(at: 9), 0.01) && near(short.rate(at: 10), 0.01))
    #expect(short.summary(from: 0).contains("after 10 steps of warm-up, a tenth of the training instead of 200"))
    let long = LearningRatePlan(settings, until: TrainingLimit(steps: 4000))
    #expect(near(long.rate(at: 99), 0.005) && near(long.rate(at: 199), 0.01))
    let timed = LearningRatePlan(settings, until: TrainingLimit(seconds: 60))
    #expect(near(timed.rate(at: 99, fraction: 0), 0.005) && near(timed.rate(at: 4, fraction: 0.05), 0.005))
    #expect(near(timed.rate(at: 4, fraction: 0.1), 0.009))
  }

  @Test("A separate schedule is exact, and steps at rate 0 are reported before they cost time")
  func ownSchedule() throws {
    let settings = Self.settings { ($0.scheduleSteps, $0.warmupSteps) = (100, 50) }
    let plan = LearningRatePlan(settings, until: TrainingLimit(steps: 300))
    #expect(near(plan.rate(at: 0), 0.0002) && near(plan.rate(at: 75), 0.005) && plan.rate(at: 250) == 0)
    let some = try #require(plan.warning(from: 0))
    #expect(some.contains("The last 200 steps") && some.contains("schedule-steps is 100"), "\(some)")
    let all = try #require(plan.warning(from: 100))
    #expect(all.hasPrefix("The learning rate is 0: schedule-steps is 100"), "\(all)")
    // With a limit of minutes it is announced as soon as the steps can be counted.
    let timed = LearningRatePlan(settings, until: TrainingLimit(seconds: 60))
    #expect(timed.warning(from: 0) == nil && timed.warning(from: 0, expected: 90) == nil)
    #expect(timed.warning(from: 0, expected: 150)?.contains("The last 50 steps") == true)
    let constant = Self.settings { ($0.scheduleSteps, $0.learningRateDecay) = (100, .constant) }
    #expect(LearningRatePlan(constant, until: TrainingLimit(steps: 300)).warning(from: 200) == nil)
  }

  @Test("After training went back to a checkpoint, the rate is a fraction of the settings'")
  func lowered() {
    let plan = LearningRatePlan(Self.settings(), factor: 0.25, until: TrainingLimit(steps: 200))
    #expect(near(plan.rate(at: 0), 0.0025))
    #expect(plan.summary(from: 0) == "learning rate 0.0025, falls to 0 at step 200")
  }
}

/// Equal except for rounding.
private func near(_ a: Float, _ b: Float) -> Bool { abs(a - b) < 1e-5 * b }

/// How a training session keeps to its time. The times are far enough apart that no machine is too slow.
@Suite struct SessionClockTests {
  @Test("Time is reserved for the work at the end")
  func closing() {
    var clock = SessionClock(seconds: 1e6)
    clock.expect(.save, 10)
    clock.expect(.validation, 100_000)
    #expect(!clock.isOver(closing: [.save, .validation]))
    // Nearly all of the time is for the work at the end.
    clock.expect(.picture, 240_000)
    #expect(clock.closing([.save, .validation, .picture]) == 340_010)
    var full = SessionClock(seconds: 1e6)
    full.expect(.save, 2e6)
    #expect(full.isOver(closing: [.save]))
    #expect(SessionClock(seconds: nil).isOver(closing: [.save]) == false)
  }

  @Test("A part that takes more than a quarter of the session is omitted, but never a checkpoint")
  func affords() {
    var clock = SessionClock(seconds: 1e6)
    clock.expect(.picture, 260_000)
    clock.expect(.save, 900_000)
    #expect(!clock.affords(.picture) && clock.affords(.save) && clock.affords(.validation))
    #expect(!clock.fits(.picture, before: []) && clock.closing([.picture, .save]) == 900_000)
    #expect(clock.fits(.validation, before: [.save]))
  }

  @Test("The first step of a session, which makes kernels, does not count")
  func steps() {
    var clock = SessionClock(seconds: 1e6)
    clock.addStep(1e9)
    #expect(clock.step == nil && clock.expectedSteps(closing: []) == nil)
    clock.addStep(1000)
    clock.addStep(2000)
    #expect(clock.step == 1100)
    clock.expect(.validation, 120_000)
    let expected = clock.expectedSteps(closing: [.validation]) ?? 0
    #expect((700...800).contains(expected), "\(expected)")
  }

  @Test("Measured times count more than expected ones")
  func measured() {
    var clock = SessionClock(seconds: 1e6)
    clock.expect(.picture, 1e5)
    _ = clock.measure(.picture) { () -> Int? in nil }
    #expect(clock.costs[.picture] == 1e5)
    _ = clock.measure(.picture) { () -> Int? in 1 }
    #expect(clock.costs[.picture, default: 1e5] < 1e5)
  }
}
