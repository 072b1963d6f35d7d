import EaselMetrics
import EaselSupport

/// Turns images into points whose distances mean something.
public protocol FeatureExtractor {
  /// A description for the reader of a figure: a checkpoint's name and hash, or how pixels are treated.
  var name: String { get }
  /// How images of another size than it takes are resized.
  var resize: String { get }
  var dimensions: Int { get }
  /// The names of the classes that it distinguishes; empty if there are none.
  var classNames: [String] { get }
  /// The points of images of any size and, if it distinguishes classes, each image's class.
  ///
  /// - Parameters:
  ///   - images: images of any size.
  ///   - progress: receives the share that is done, 0 to 1.
  func extract(_ images: ImageDataset, progress: (Double) throws -> Void) rethrows -> (
    points: FeatureSet, classes: [Int]
  )
}

/// The features of a trained model.
public struct ModelFeatureExtractor: FeatureExtractor {
  public let name: String
  public let resize: String
  public let dimensions: Int
  public let classNames: [String]
  private let model: any FeatureExtracting

  /// How many images are processed together: always the same number, so that an image's features do not depend on the
  /// others.
  private static let chunk = 256

  /// - Parameters:
  ///   - model: the model with the features.
  ///   - name: the checkpoint's name, with its hash.
  ///   - size: the size of the images that it will receive.
  public init(_ model: any FeatureExtracting, name: String, for size: ImageSize) {
    self.model = model
    self.name = name
    let data = model.context.data
    let own = ImageSize(width: data.width, height: data.height)
    resize = size == own ? "none" : "\(size) to \(own), bilinear, middle kept"
    classNames = model is any Classifying ? data.classNames : []
    let blank = Tensor(repeating: 0, shape: data.shape(1), on: model.context.backend)
    dimensions = model.features(blank).shape[1]
  }

  public func extract(_ images: ImageDataset, progress: (Double) throws -> Void) rethrows -> (
    points: FeatureSet, classes: [Int]
  ) {
    let (data, backend) = (model.context.data, model.context.backend)
    var (values, classes): ([Float], [Int]) = ([], [])
    values.reserveCapacity(images.count * dimensions)
    for start in stride(from: 0, to: images.count, by: Self.chunk) {
      let count = min(Self.chunk, images.count - start)
      let part = images.subset(start..<start + count)
        .resized(to: ImageSize(width: data.width, height: data.height)).converted(channels: data.channels)
      let filled = part.pixels + [UInt8](repeating: 0, count: (Self.chunk - count) * part.sampleSize)
      let features = model.features(
        backend.fromBytes(filled, shape: data.shape(Self.chunk), scale: 1 / 255, shift: 0, type: .float32))
      values += features[0..<count].values()
      if let classifier = model as? any Classifying {
        classes += classifier.logits(ofFeatures: features).argmax()[..<count]
      }
      try progress(Double(start + count) / Double(images.count))
    }
    return (FeatureSet(values, dimensions: dimensions), classes)
  }
}

/// Pixels, reduced in size and projected onto the principal components of some images: for data that no classifier
/// knows.
///
/// These features capture colours and coarse shapes. Their figures distinguish samplers of the same data, but cannot be
/// compared with those of a network's features.
public struct PixelFeatureExtractor: FeatureExtractor {
  public let name: String
  public let resize: String
  public let dimensions: Int
  public let classNames: [String] = []
  private let size: ImageSize
  private let channels: Int
  private let mean: [Float]
  /// `[dimensions, pixels]`.
  private let components: Tensor

  /// Images are reduced to this longer side.
  public static let longestSide = 16

  /// Finds the components.
  ///
  /// - Parameters:
  ///   - images: at most the first 10,000 are used.
  ///   - dimensions: how many components; at most as many as there are pixels.
  ///   - backend: the backend that computes.
  /// - Throws: `UserError` (usage) if images or pixels are too few for so many components.
  public init(fitting images: ImageDataset, dimensions: Int, on backend: any Backend) throws {
    let longest = max(images.width, images.height)
    func side(_ length: Int) -> Int { max(1, length * min(Self.longestSide, longest) / longest) }
    size = ImageSize(width: side(images.width), height: side(images.height))
    channels = images.channels
    self.dimensions = dimensions
    let pixels = size.width * size.height * channels
    let fitted = images.subset(0..<min(10_000, images.count)).resized(to: size)
    guard (1...min(pixels, fitted.count - 1)).contains(dimensions) else {
      throw UserError(
        .usage, "\(field: "dimensions"): expected 1 to \(min(pixels, fitted.count - 1)), found \(dimensions)",
        hint: "There are \(pixels) pixels in an image and \(fitted.count) images.")
    }
    name = "pixels, \(dimensions) principal components of \(size)×\(channels)"
    resize = size == images.imageSize ? "none" : "\(images.imageSize) to \(size), bilinear"

    var mean = [Double](repeating: 0, count: pixels)
    for (place, level) in fitted.pixels.enumerated() { mean[place % pixels] += Double(level) / 255 }
    for place in mean.indices { mean[place] /= Double(fitted.count) }
    let centred = fitted.pixels.enumerated().map { Double($1) / 255 - mean[$0 % pixels] }
    let gram = LinearAlgebra.gram(of: centred, rows: fitted.count, columns: pixels)
    let (_, vectors) = LinearAlgebra.eigenvectors(ofSymmetric: gram, size: pixels)
    // Eigenvalues ascend, so the last are the principal ones. Eigenvector signs are arbitrary; fix them by making the
    // sum non-negative.
    let rows = (0..<dimensions).flatMap { index -> [Float] in
      let start = (pixels - 1 - index) * pixels
      let row = vectors[start..<start + pixels].map(Float.init)
      return row.reduce(0, +) < 0 ? row.map { -$0 } : row
    }
    self.mean = mean.map(Float.init)
    components = Tensor(rows, shape: [dimensions, pixels], on: backend)
  }

  public func extract(_ images: ImageDataset, progress: (Double) throws -> Void) rethrows -> (
    points: FeatureSet, classes: [Int]
  ) {
    let backend = components.backend
    let offset = Tensor(mean.map { -$0 }, shape: [mean.count], on: backend)
    var values: [Float] = []
    let chunk = 1024
    for start in stride(from: 0, to: images.count, by: chunk) {
      let part = images.subset(start..<min(start + chunk, images.count)).converted(channels: channels).resized(to: size)
      let pixels = backend.fromBytes(
        part.pixels, shape: [part.count, mean.count], scale: 1 / 255, shift: 0, type: .float32)
      values += backend.linear(backend.addRow(pixels, offset), weight: components, bias: nil, residual: nil).values()
      try progress(Double(start + part.count) / Double(images.count))
    }
    return (FeatureSet(values, dimensions: dimensions), [])
  }
}

extension ImageDataset {
  /// The images as points, with every level as a number.
  public var pixelPoints: FeatureSet { FeatureSet(levels: pixels, dimensions: sampleSize) }
}
