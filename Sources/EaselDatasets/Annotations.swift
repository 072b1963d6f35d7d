/// What a data set has for its images besides pixels.
public struct Annotations: Sendable, Equatable {
  /// One class index for each image, if the data are labelled.
  public var labels: [Int32]?
  /// The texts that each describe an image, for every image, if the data are captioned. An image may have none.
  public var captions: [[String]]?

  public init(labels: [Int32]? = nil, captions: [[String]]? = nil) {
    self.labels = labels
    self.captions = captions
  }

  /// The annotations of consecutive images.
  public subscript(range: Range<Int>) -> Annotations {
    Annotations(labels: labels.map { Array($0[range]) }, captions: captions.map { Array($0[range]) })
  }

  /// The annotations of chosen images, in the order of `indices`.
  public subscript(indices: [Int]) -> Annotations {
    Annotations(
      labels: labels.map { labels in indices.map { labels[$0] } },
      captions: captions.map { captions in indices.map { captions[$0] } })
  }

  /// These annotations followed by those of further images, with only the kinds that both have.
  func appending(_ other: Annotations) -> Annotations {
    func both<Value>(_ a: [Value]?, _ b: [Value]?) -> [Value]? { a.flatMap { a in b.map { a + $0 } } }
    return Annotations(labels: both(labels, other.labels), captions: both(captions, other.captions))
  }

  /// What does not fit the numbers of images and classes; nil if everything fits.
  func problem(images: Int, classes: Int) -> String? {
    if let labels, labels.count != images || !labels.allSatisfy({ 0..<Int32(classes) ~= $0 }) {
      return "\(labels.count) labels of \(classes) classes for \(images) images"
    }
    if let captions, captions.count != images { return "captions of \(captions.count) images for \(images)" }
    return nil
  }
}
