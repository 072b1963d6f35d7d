import EaselKit

extension DataListRequest.Answer {
  func print(_ desk: Desk) throws {
    if desk.json { return try Console.print(json: self) }
    for row in datasets {
      let figures =
        row.problem
        ?? "\(row.count ?? 0) images \(row.width ?? 0)×\(row.height ?? 0)×\(row.channels ?? 0)"
        + ((row.classes ?? []).isEmpty ? "" : ", \(row.classes?.count ?? 0) classes")
      Console.print("\(row.name)  \(figures)  \(row.path)")
    }
  }
}

extension DataInfoRequest.Answer {
  func print(_ desk: Desk) throws {
    if desk.json { return try Console.print(json: self) }
    Console.print("name      \(name)")
    Console.print("source    \(source)")
    Console.print("images    \(training) for training, \(validation) held out (\(split))")
    Console.print("size      \(width)×\(height)×\(channels)")
    if !classes.isEmpty { Console.print("classes   \(classes.joined(separator: ", "))") }
    if let captions {
      Console.print(
        "captions  \(captions.count), of \(captions.training) images for training and \(captions.validation) held out")
      for example in captions.examples {
        Console.print(
          "          \(example.picture): \(example.captions.prefix(4).map(\.debugDescription).joined(separator: ", "))"
            + (example.captions.count > 4 ? " and \(example.captions.count - 4) more" : ""))
      }
    }
    Console.print("SHA-256   \(fingerprint)")
    if let hash = captions?.fingerprint { Console.print("          \(hash) of the captions") }
  }
}
