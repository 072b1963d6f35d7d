extension Image {
  /// The picture in colour, enlarged by whole pixels if it is small, with a line of text below it.
  ///
  /// - Parameter text: printable ASCII; other characters become question marks, and what has no room is left out.
  package func captioned(_ text: String) -> Image {
    let least = 112
    let scale = (least + width - 1) / width
    let letters = 8.0
    let colours = converted(channels: 3)
    var canvas = Canvas(
      width: scale * width, height: scale * height + Int(2.4 * letters), Colour(repeating: 1))
    canvas.place(colours, scale: scale)
    var shown = text
    while StrokeFont.roman.width(of: shown, height: letters) > Double(canvas.width) { shown.removeLast() }
    canvas.write(
      shown, at: Place(Double(canvas.width) / 2, Double(scale * height) + 1.6 * letters), .middle, height: letters,
      Colour(repeating: 0.1))
    return canvas.image
  }
}
