import EaselImages
import EaselSupport
import EaselTensors

/// Pictures of one or two coloured shapes with captions, which Easel draws itself: for learning from texts, and for counting
/// how often a picture shows what its text says.
///
/// Combinations of form, colour and place, or of two forms, two colours and how they stand to each other, are held out whole.
public enum Shapes {
  /// The name of the data set in the catalogue.
  public static let name = "shapes"
  /// Sides in pixels that it can be drawn at.
  public static let sizes = 16...256
  public static let counts = 100...1_000_000

  /// Whether so many pictures fit into the PNG file of a sheet.
  public static func fits(count: Int, side: Int) -> Bool {
    let columns = Int(Double(count).squareRoot().rounded(.up))
    return columns * columns * side * side <= Image.maximumPixelCount
  }

  /// Draws the data.
  ///
  /// - Parameters:
  ///   - count: pictures in all, about a tenth of which are held out.
  ///   - side: their width and height in pixels, one of ``sizes``.
  ///   - seed: the series.
  public static func splits(count: Int, side: Int, seed: UInt64) -> DatasetSplits {
    let numbers = Array(0..<count)
    let scenes = concurrentMap(numbers) { ShapeScene($0, seed: seed) }
    func part(_ isWanted: (ShapeScene) -> Bool) -> ImageDataset {
      let chosen = numbers.filter { isWanted(scenes[$0]) }
      return ImageDataset(
        name: name, source: "\(name), drawn from seed \(seed)", width: side, height: side, channels: 3,
        pixels: concatenated(concurrentMap(chosen) { ShapeScene.picture($0, seed: seed, side: side).pixels }),
        annotations: Annotations(captions: chosen.map { scenes[$0].captions }))
    }
    return DatasetSplits(
      train: part { !$0.isHeldOut }, validation: part(\.isHeldOut),
      rule: "a tenth of all combinations of form, colour and place is for validation")
  }

  /// How many pictures of some data ``ShapeReader`` reads as their captions have it.
  public static func readable(_ images: ImageDataset) -> Int {
    guard let captions = images.annotations.captions else { return 0 }
    return concurrentMap(Array(0..<images.count)) { number in
      ShapeReader.scene(of: images.image(at: number)).map { $0.captions == captions[number] } ?? false
    }.count { $0 }
  }

  /// How many shapes the scene of a picture has, and whether the scene is the one that captions describe: its forms, colours
  /// and places, whatever the sizes. Nil for a picture that ``ShapeReader`` cannot read.
  ///
  /// - Parameters:
  ///   - picture: any picture of three channels.
  ///   - captions: every wording of one scene.
  public static func reading(of picture: Image, captions: [String]) -> (shapes: Int, isAsDescribed: Bool)? {
    guard let scene = ShapeReader.scene(of: picture) else { return nil }
    let shapes = if case .one = scene { 1 } else { 2 }
    return (shapes, captions.contains(scene.captions[2]))
  }
}
