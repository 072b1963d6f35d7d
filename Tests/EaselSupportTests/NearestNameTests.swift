import EaselSupport
import Testing

@Suite struct NearestNameTests {
  private let names = ["batch-size", "learning-rate", "ema-decay", "keep", "vae", "gan"]

  @Test(arguments: [
    ("bacth-size", "batch-size"), ("batchsize", "batch-size"), ("Learning-Rate", "learning-rate"), ("kep", "keep"),
    ("learn", "learning-rate"), ("vea", "vae"), ("ema-dcay", "ema-decay"),
  ])
  func finds(_ name: String, _ expected: String) {
    #expect(nearestName(to: name, among: names) == expected)
  }

  @Test(arguments: ["", "x", "zz", "weights", "temperature"]) func findsNothing(_ name: String) {
    #expect(nearestName(to: name, among: names) == nil)
  }

  @Test func aNameOfAMegabyteIsComparedByItsLength() {
    #expect(nearestName(to: String(repeating: "v", count: 1 << 20), among: names) == nil)
  }
}
