import EaselSupport

/// The pictures that were asked for, and how they were made.
public struct PictureAnswer {
  /// Row by row of the sheet.
  public var pictures: [Image]
  /// Pictures in a row of the sheet.
  public var columns: Int
  /// How many images were made.
  public var count: Int
  /// What was measured on the way, by name.
  public var figures: [String: Double] = [:]
  /// How the pictures were made; with it, anybody can make the same ones again.
  public var recipe: Recipe
  /// Sentences for people.
  public var remarks: [String] = []
  /// A film of how the pictures were made, if one was asked for.
  public var film: Film?
  /// The names of the pictures, if each is a translation of a file or a held-out image.
  public var names: [String] = []
  /// The recipe of each picture by itself, by its number; nil if none can be made alone.
  public var recipeOfPicture: ((Int) -> Recipe)?
  /// The pictures before they were rounded to levels: `[N, H, W, C]`, float32, from 0 to 1 with values beyond; only for
  /// drawn ones.
  public var values: Tensor?

  /// All pictures as one.
  public var grid: Image { ImageGrid.compose(pictures, columns: columns) }

  /// The images that the pictures were made from; empty for none.
  public var subject: String { recipe["Images"] ?? "" }

  /// Writes the sheet with its recipe; makes the folder if it is missing.
  ///
  /// - Throws: `UserError` (cannot create).
  public func write(to path: String) throws {
    try FileOutput.makeFolder(for: path)
    try grid.write(to: path, text: recipe.text)
  }

  /// Writes each picture by itself with its own recipe.
  ///
  /// - Parameter path: gives the path of the picture with a number.
  /// - Throws: `UserError` (cannot create).
  public func writePictures(_ path: (Int) -> String) throws {
    for (index, picture) in pictures.enumerated() {
      try FileOutput.makeFolder(for: path(index))
      try picture.write(to: path(index), text: (recipeOfPicture?(index) ?? recipe).text)
    }
  }

  /// Writes ``values`` as a NumPy array.
  ///
  /// - Throws: `UserError` (cannot create).
  public func writeArray(to path: String) throws {
    guard let values else { return }
    try FileOutput.makeFolder(for: path)
    try NPYArray(shape: values.shape.sizes, values: .float32(values.values())).write(to: path)
  }
}

extension Job {
  func recipe(_ request: some ModelRequest, _ settings: [(key: String, value: String)]) -> Recipe {
    Recipe(request, loaded, settings, in: work.workspace)
  }

  /// - Parameters:
  ///   - made: how many images were made; nil for as many as are shown.
  ///   - request: the request, with everything that the pictures depend on.
  ///   - settings: the request's settings, for people.
  func picture(
    _ pictures: [Image], columns: Int, made: Int? = nil, figures: [String: Double] = [:], film: Film? = nil,
    _ request: some ModelRequest, _ settings: [(key: String, value: String)]
  ) -> PictureAnswer {
    PictureAnswer(
      pictures: pictures, columns: columns, count: made ?? pictures.count, figures: figures,
      recipe: recipe(request, settings), remarks: work.remarks, film: film)
  }
}
